/** What leads from one set of routes to another. */
export interface RouteDiff<R> {
  readonly upsert: readonly R[]
  /** Guids. */
  readonly remove: readonly string[]
}

/** Changes that turn `current` into `wanted`; routes that are equal in content are left alone, so that their state survives a new snapshot. */
export function diffRoutes<R extends { readonly routeGuid: string }>(
  current: Iterable<R>,
  wanted: readonly R[],
  isSame: (one: R, other: R) => boolean = isEqual,
): RouteDiff<R> {
  const before = new Map([...current].map((route) => [route.routeGuid, route]))
  const upsert = wanted.filter((route) => {
    const old = before.get(route.routeGuid)
    return old === undefined || !isSame(old, route)
  })
  const kept = new Set(wanted.map((route) => route.routeGuid))
  return { upsert, remove: [...before.keys()].filter((guid) => !kept.has(guid)) }
}

/** Whether two values of plain data are equal. Many times faster than comparing their texts, and most of a table is equal. */
function isEqual(one: unknown, other: unknown): boolean {
  if (one === other) return true
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return false
  if (Array.isArray(one))
    return Array.isArray(other) && one.length === other.length && one.every((each, i) => isEqual(each, other[i]))
  const [first, second] = [one as Record<string, unknown>, other as Record<string, unknown>]
  let count = 0
  for (const key in first) {
    if (first[key] === undefined) continue
    count++
    if (!isEqual(first[key], second[key])) return false
  }
  for (const key in second) if (second[key] !== undefined) count--
  return count === 0
}
