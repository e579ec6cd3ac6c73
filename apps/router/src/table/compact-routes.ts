import type { RouteEndpoint, RouteEntry } from '@bloomery/contracts'

/** Options of the many routes that have none. */
const NO_OPTIONS: RouteEntry['options'] = Object.freeze({})

/**
 * Makes routes small: text that many share is kept once, and an endpoint that several routes lead to is one object. What the
 * parser gives is half as large again.
 */
export class CompactRoutes {
  readonly #texts = new Map<string, string>()

  /** `known`: the same instance as another route has it already. */
  compact(route: RouteEntry, known: (instanceGuid: string) => RouteEndpoint | undefined): RouteEntry {
    const { routeGuid, host, path, protocol, port, options, routeServiceUrl, routeServiceTrusted, unserved, endpoints } = route
    // Literals of one shape, and rare properties added one by one: spreading would cost each object more than it holds.
    const compacted: RouteEntry = {
      routeGuid,
      host,
      path,
      protocol,
      options: Object.keys(options).length === 0 ? NO_OPTIONS : options,
      endpoints: endpoints.map((endpoint) => this.#endpoint(endpoint, known(endpoint.instanceGuid))),
    }
    if (port !== undefined) compacted.port = port
    if (unserved !== undefined) compacted.unserved = unserved
    if (routeServiceUrl !== undefined) compacted.routeServiceUrl = routeServiceUrl
    if (routeServiceTrusted !== undefined) compacted.routeServiceTrusted = routeServiceTrusted
    return compacted
  }

  #endpoint(endpoint: RouteEndpoint, known: RouteEndpoint | undefined): RouteEndpoint {
    if (known && isSame(known, endpoint)) return known
    const { appGuid, processGuid, weight, zone, tlsAddress } = endpoint
    const compacted: RouteEndpoint = {
      instanceGuid: endpoint.instanceGuid,
      appGuid,
      appName: endpoint.appName,
      spaceGuid: this.#shared(endpoint.spaceGuid),
      organizationGuid: this.#shared(endpoint.organizationGuid),
      // The first process of an app has its guid.
      processGuid: processGuid === appGuid ? appGuid : processGuid,
      processType: this.#shared(endpoint.processType),
      index: endpoint.index,
      cellId: this.#shared(endpoint.cellId),
      localAddress: endpoint.localAddress,
      hostAddress: endpoint.hostAddress,
      protocol: endpoint.protocol,
    }
    // Of all instances of a cell the same.
    if (tlsAddress !== undefined) compacted.tlsAddress = this.#shared(tlsAddress)
    if (zone !== undefined) compacted.zone = this.#shared(zone)
    if (weight !== undefined) compacted.weight = weight
    return compacted
  }

  /** Spaces, organizations, cells and process types are few compared with routes, and come again. */
  #shared(text: string): string {
    const kept = this.#texts.get(text)
    if (kept !== undefined) return kept
    this.#texts.set(text, text)
    return text
  }
}

function isSame(one: RouteEndpoint, other: RouteEndpoint): boolean {
  for (const key of Object.keys(other) as (keyof RouteEndpoint)[]) if (one[key] !== other[key]) return false
  return Object.keys(one).length === Object.keys(other).length
}
