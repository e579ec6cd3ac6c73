import { isEqual } from '../collections/is-equal.js'

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
