/** A route address taken apart over the domains that exist. */
export interface RouteParts<Domain> {
  readonly domain: Domain
  readonly host: string
  readonly path: string
  readonly port: number | undefined
}

/** Finds the longest known domain within an address such as `a.b.example.com:80/path`; undefined where none fits. */
export function matchRouteAddress<Domain extends { readonly name: string }>(
  address: string,
  domains: readonly Domain[],
): RouteParts<Domain> | undefined {
  const match = /^([^/:]+)(?::(\d+))?(\/.*)?$/.exec(address)
  if (!match) return undefined
  const name = (match[1] ?? '').toLowerCase()
  const byLength = [...domains].sort((a, b) => b.name.length - a.name.length)
  const fits = byLength.find((domain) => name === domain.name.toLowerCase() || name.endsWith(`.${domain.name.toLowerCase()}`))
  if (!fits) return undefined
  const host = name.length === fits.name.length ? '' : name.slice(0, -fits.name.length - 1)
  const path = (match[3] ?? '').replace(/\/+$/, '')
  return { domain: fits, host, path, port: match[2] === undefined ? undefined : Number(match[2]) }
}
