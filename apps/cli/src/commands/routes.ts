import { type App, ClientError, type Domain, type Route } from '@bloomery/client'
import type { Context } from '../context.js'

export interface RouteFlags {
  readonly hostname?: string
  readonly path?: string
  /** Of a TCP route; absent on a TCP domain: any that is free. */
  readonly port?: number
}
/** A route that may have to be made. */
export interface NewRouteFlags extends RouteFlags {
  /** KEY=VALUE each. */
  readonly option?: readonly string[]
}

export async function listRoutes(context: Context): Promise<void> {
  const { client, terminal, space } = context
  context.announce('Getting routes')
  const [routes, apps, domains] = await Promise.all([
    client.list<Route>('/v3/routes', { space_guids: space.guid }),
    client.list<App>('/v3/apps', { space_guids: space.guid }),
    client.list<Domain>('/v3/domains'),
  ])
  if (routes.length === 0) return terminal.line('No routes found.')
  const names = new Map(apps.map(({ guid, name }) => [guid, name]))
  const domainNames = new Map(domains.map(({ guid, name }) => [guid, name]))
  const each = (values: readonly string[]): string => [...new Set(values)].join(', ')
  terminal.table(
    ['space', 'host', 'domain', 'port', 'path', 'protocol', 'app-protocol', 'apps', 'options'],
    routes.map(({ host, path, port, protocol, destinations, options, relationships }) => [
      space.name,
      host,
      domainNames.get(relationships.domain.data?.guid ?? '') ?? '',
      String(port ?? ''),
      path,
      protocol,
      each(destinations.flatMap((one) => one.protocol ?? [])),
      each(destinations.map(({ app }) => names.get(app.guid) ?? app.guid)),
      each(Object.entries(options ?? {}).map(([key, value]) => `${key}=${value}`)),
    ]),
  )
}

export async function mapRoute(
  context: Context,
  name: string,
  domainName: string,
  flags: NewRouteFlags & { readonly appProtocol?: string },
): Promise<void> {
  const { client, terminal } = context
  const [app, domain] = await Promise.all([context.app(name), getDomain(context, domainName)])
  const found = await findRoute(context, domain, flags)
  const route = found ?? (await createRoute(context, domain, flags))
  if (!found) terminal.line(`Creating route ${terminal.name(route.url)}...`)
  const protocol = flags.appProtocol
  context.announce(
    `Mapping route ${terminal.name(route.url)} to app ${terminal.name(name)}${protocol === undefined ? '' : ` with protocol ${protocol}`}`,
  )
  const isSame = (one: Route['destinations'][number]): boolean =>
    one.app.guid === app.guid && (protocol === undefined || one.protocol === protocol)
  if (route.destinations.some(isSame)) {
    terminal.line(`App '${name}' is already mapped to route '${route.url}'. Nothing has been updated.`)
    return terminal.ok()
  }
  const destination = { app: { guid: app.guid }, ...(protocol === undefined ? {} : { protocol }) }
  await client.post(`/v3/routes/${route.guid}/destinations`, { destinations: [destination] })
  terminal.ok()
}

export async function unmapRoute(context: Context, name: string, domainName: string, flags: RouteFlags): Promise<void> {
  const { client, terminal } = context
  const [app, domain] = await Promise.all([context.app(name), getDomain(context, domainName)])
  const route = await getRoute(context, domain, flags)
  context.announce(`Removing route ${terminal.name(route.url)} from app ${terminal.name(name)}`)
  const mapped = route.destinations.filter((each) => each.app.guid === app.guid)
  if (mapped.length === 0) terminal.line(`Route ${route.url} is not mapped to app '${name}'.`)
  for (const { guid } of mapped) {
    if (guid !== null) await (await client.request('DELETE', `/v3/routes/${route.guid}/destinations/${guid}`)).text()
  }
  terminal.ok()
}

export async function getDomain({ client }: Context, name: string): Promise<Domain> {
  const [domain] = await client.list<Domain>('/v3/domains', { names: [name] })
  if (domain) return domain
  throw new ClientError('not-found', `Domain '${name}' not found. See: bloom domains`)
}

const pathOf = (path: string | undefined): string => (path ? `/${path.replace(/^\/+/, '')}` : '')
const isTcp = ({ supported_protocols: protocols }: Domain): boolean => protocols?.includes('tcp') === true

/** As cf looks: several TCP routes may share a port by host, and one whose port is not told is none yet. */
export async function findRoute(
  { client }: Context,
  domain: Domain,
  { hostname, path, port }: RouteFlags,
): Promise<Route | undefined> {
  const [route] = await client.list<Route>('/v3/routes', {
    domain_guids: domain.guid,
    hosts: hostname ?? '',
    paths: pathOf(path),
    ...(port !== undefined || isTcp(domain) ? { ports: port ?? 0 } : {}),
  })
  return route
}

export async function getRoute(context: Context, domain: Domain, flags: RouteFlags): Promise<Route> {
  const route = await findRoute(context, domain, flags)
  if (route) return route
  const hint = isTcp(domain) && flags.port === undefined ? ' Name its port with --port.' : ''
  throw new ClientError('not-found', `There is no such route on domain ${domain.name}.${hint} See: bloom routes`)
}

export const createRoute = ({ client, space }: Context, domain: Domain, flags: NewRouteFlags): Promise<Route> => {
  const { hostname, path, port, option } = flags
  return client.post<Route>('/v3/routes', {
    ...(hostname === undefined ? {} : { host: hostname }),
    ...(path === undefined ? {} : { path: pathOf(path) }),
    ...(port === undefined ? {} : { port }),
    ...(option === undefined ? {} : { options: optionsOf(option) }),
    relationships: { domain: { data: { guid: domain.guid } }, space: { data: { guid: space.guid } } },
  })
}

export function optionsOf(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    words.map((word) => {
      const at = word.indexOf('=')
      if (at <= 0) throw new ClientError('bad-argument', `Route option '${word}' is not of the form KEY=VALUE.`)
      return [word.slice(0, at), word.slice(at + 1)]
    }),
  )
}
