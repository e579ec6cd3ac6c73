/** What the index needs to know of a route. */
export interface IndexedRoute {
  readonly routeGuid: string
  /** A leading `*.` label stands for one or more labels. */
  readonly host: string
  /** "" or "/segment…". */
  readonly path: string
  /** Whether it has endpoints; a route without never matches. */
  readonly isServed: boolean
}

/**
 * Host and path to route, by Cloud Foundry's rules: the exact host beats a wildcard, a nearer wildcard beats a farther one, and
 * within a host the longest path of whole segments wins. Case does not matter, neither in the host nor in the path. Routes that
 * have no endpoints are passed over, so that a stopped app does not hide the wildcard behind it.
 */
export class RouteIndex<R extends IndexedRoute> {
  readonly #byGuid = new Map<string, R>()
  /** Most hosts have one route, without a path: it stands for itself, since a map of its own would be larger than the route. */
  readonly #byHost = new Map<string, R | Map<string, R>>()

  get size(): number {
    return this.#byGuid.size
  }

  get(routeGuid: string): R | undefined {
    return this.#byGuid.get(routeGuid)
  }

  all(): IterableIterator<R> {
    return this.#byGuid.values()
  }

  /** Adds the route, or replaces the one with its guid. */
  set(route: R): void {
    this.delete(route.routeGuid)
    this.#byGuid.set(route.routeGuid, route)
    const host = route.host.toLowerCase()
    const path = normalizePath(route.path)
    const present = this.#byHost.get(host)
    if (present === undefined && path === '') this.#byHost.set(host, route)
    else if (present instanceof Map) present.set(path, route)
    else this.#byHost.set(host, new Map([...(present ? ([['', present]] satisfies [string, R][]) : []), [path, route]]))
  }

  delete(routeGuid: string): R | undefined {
    const route = this.#byGuid.get(routeGuid)
    if (!route) return undefined
    this.#byGuid.delete(routeGuid)
    const host = route.host.toLowerCase()
    const present = this.#byHost.get(host)
    // The place may belong to a route that was made anew under another guid.
    if (present instanceof Map) {
      const path = normalizePath(route.path)
      if (present.get(path)?.routeGuid !== routeGuid) return route
      present.delete(path)
      if (present.size === 0) this.#byHost.delete(host)
    } else if (present?.routeGuid === routeGuid) this.#byHost.delete(host)
    return route
  }

  /** The route that serves this host and request target; the host without a port, the target as received. */
  find(host: string, target: string): R | undefined {
    return this.#match(host, target, isServed)
  }

  /** Like `find`, but also a route that no endpoint serves, when none that fits has one. */
  findKnown(host: string, target: string): R | undefined {
    return this.find(host, target) ?? this.#match(host, target, isAny)
  }

  #match(givenHost: string, target: string, accepts: (route: IndexedRoute) => boolean): R | undefined {
    const host = givenHost.toLowerCase()
    let path: string | undefined
    // `a.b.c` → `a.b.c`, `*.b.c`, `*.c`.
    for (let candidate = host, dot = -1; ;) {
      const present = this.#byHost.get(candidate)
      if (present instanceof Map) {
        path ??= normalizePath(target)
        const route = longestMatch(present, path, accepts)
        if (route) return route
      } else if (present !== undefined && accepts(present)) return present
      dot = host.indexOf('.', dot + 1)
      if (dot === -1) return undefined
      candidate = `*${host.slice(dot)}`
    }
  }
}

const isServed = (route: IndexedRoute): boolean => route.isServed
const isAny = (): boolean => true

/** The target's path in the form of the index: without query, one trailing slash dropped, lower case, percent-encoding as it is. */
export function normalizePath(target: string): string {
  const query = target.indexOf('?')
  const path = query === -1 ? target : target.slice(0, query)
  return (path.endsWith('/') ? path.slice(0, -1) : path).toLowerCase()
}

function longestMatch<R extends IndexedRoute>(
  paths: ReadonlyMap<string, R>,
  path: string,
  accepts: (route: IndexedRoute) => boolean,
): R | undefined {
  for (let end = path.length; ; end = path.lastIndexOf('/', end - 1)) {
    const route = paths.get(path.slice(0, Math.max(end, 0)))
    if (route && accepts(route)) return route
    if (end <= 0) return undefined
  }
}
