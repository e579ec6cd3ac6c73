/** What the index needs to know of a route; a route without endpoints never matches. */
export interface IndexedRoute {
  readonly routeGuid: string
  /** A leading `*.` label stands for one or more labels. */
  readonly host: string
  /** "" or "/segment…". */
  readonly path: string
  readonly endpoints: readonly unknown[]
}

/**
 * Host and path to route, by Cloud Foundry's rules: the exact host beats a wildcard, a nearer wildcard beats a farther one, and
 * within a host the longest path of whole segments wins. Case does not matter, neither in the host nor in the path. Routes that
 * have no endpoints are passed over, so that a stopped app does not hide the wildcard behind it.
 */
export class RouteIndex<R extends IndexedRoute> {
  readonly #byGuid = new Map<string, R>()
  readonly #byHost = new Map<string, Map<string, R>>()

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
    const paths = this.#byHost.get(host) ?? new Map<string, R>()
    this.#byHost.set(host, paths)
    paths.set(normalizePath(route.path), route)
  }

  delete(routeGuid: string): R | undefined {
    const route = this.#byGuid.get(routeGuid)
    if (!route) return undefined
    this.#byGuid.delete(routeGuid)
    const host = route.host.toLowerCase()
    const path = normalizePath(route.path)
    const paths = this.#byHost.get(host)
    // The place may belong to a route that was made anew under another guid.
    if (paths?.get(path)?.routeGuid !== routeGuid) return route
    paths.delete(path)
    if (paths.size === 0) this.#byHost.delete(host)
    return route
  }

  /** The route that serves this host and request target; the host without a port, the target as received. */
  find(host: string, target: string): R | undefined {
    const path = normalizePath(target)
    for (const candidate of hostCandidates(host.toLowerCase())) {
      const paths = this.#byHost.get(candidate)
      const route = paths && longestMatch(paths, path)
      if (route) return route
    }
    return undefined
  }
}

/** The target's path in the form of the index: without query, one trailing slash dropped, lower case, percent-encoding as it is. */
export function normalizePath(target: string): string {
  const query = target.indexOf('?')
  const path = query === -1 ? target : target.slice(0, query)
  return (path.endsWith('/') ? path.slice(0, -1) : path).toLowerCase()
}

/** `a.b.c` → `a.b.c`, `*.b.c`, `*.c`. */
function* hostCandidates(host: string): Generator<string> {
  yield host
  for (let dot = host.indexOf('.'); dot !== -1; dot = host.indexOf('.', dot + 1)) yield `*${host.slice(dot)}`
}

function longestMatch<R extends IndexedRoute>(paths: ReadonlyMap<string, R>, path: string): R | undefined {
  for (let end = path.length; ; end = path.lastIndexOf('/', end - 1)) {
    const route = paths.get(path.slice(0, Math.max(end, 0)))
    if (route && route.endpoints.length > 0) return route
    if (end <= 0) return undefined
  }
}
