import type { RouteEntry } from '@bloomery/contracts'

/** Where connections to one port go. */
export interface TcpPort {
  /** For TLS connections that name this host. */
  readonly byName: ReadonlyMap<string, RouteEntry>
  /** For all others. */
  readonly rest: RouteEntry | undefined
}

/** The routes by port. Where two claim one place, which the API never lets happen, the one with the smaller guid has it, on every router. */
export function tcpPortsOf(routes: readonly RouteEntry[]): ReadonlyMap<number, TcpPort> {
  const ports = new Map<number, { byName: Map<string, RouteEntry>; rest: RouteEntry | undefined }>()
  for (const route of [...routes].sort((a, b) => (a.routeGuid < b.routeGuid ? -1 : 1))) {
    if (route.protocol !== 'tcp' || route.port === undefined) continue
    const port = ports.get(route.port) ?? { byName: new Map<string, RouteEntry>(), rest: undefined }
    ports.set(route.port, port)
    if (route.options['sni'] !== 'true') port.rest ??= route
    else if (!port.byName.has(route.host)) port.byName.set(route.host, route)
  }
  return ports
}
