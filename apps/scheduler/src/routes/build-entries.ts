import { groupBy, isRoutable } from '@bloomery/domain'
import type { RouteEndpoint, RouteEntry } from '@bloomery/contracts'
import type { InstanceRow } from '../state/rows.js'
import type { DestinationRow, RouteRow } from './read-routes.js'

/** Of cells that name none; not worth its bytes in every endpoint. */
const DEFAULT_ZONE = 'default'

/** What routers are told: each route with the instances that serve it now, evacuating and suspect copies included. */
export function buildRouteEntries(
  routes: readonly RouteRow[],
  instances: readonly InstanceRow[],
  zoneOf: (cellId: string) => string | undefined = () => undefined,
): RouteEntry[] {
  const serving = groupBy(
    instances.filter((row) => isRoutable(row) && row.endpoint !== null),
    ({ appGuid, processType }) => `${appGuid}/${processType}`,
  )
  for (const rows of serving.values()) rows.sort(byPlace)
  return routes.map((route) => {
    const endpoints = route.destinations.flatMap((destination) =>
      (serving.get(`${destination.appGuid}/${destination.processType}`) ?? []).flatMap((row) =>
        endpointOf(route, destination, row, row.cellId === null ? undefined : zoneOf(row.cellId)),
      ),
    )
    return {
      routeGuid: route.guid,
      host: hostOf(route),
      path: route.path.replace(/\/+$/, ''),
      protocol: route.protocol === 'tcp' ? 'tcp' : 'http',
      ...(route.port > 0 ? { port: route.port } : {}),
      options: textOptions(route.options),
      ...(route.routeServiceUrl === null ? {} : { routeServiceUrl: route.routeServiceUrl }),
      ...(route.routeServiceUrl !== null && route.routeServiceTrusted ? { routeServiceTrusted: true } : {}),
      ...(endpoints.length === 0 && route.destinations.some(({ wanted }) => wanted) ? { unserved: true } : {}),
      endpoints,
    }
  })
}

const byPlace = (a: InstanceRow, b: InstanceRow): number =>
  a.index - b.index || ((a.instanceGuid ?? '') < (b.instanceGuid ?? '') ? -1 : 1)

function hostOf({ host, domain }: RouteRow): string {
  return (host === '' ? domain : `${host}.${domain}`).toLowerCase()
}

const textOptions = (options: Readonly<Record<string, unknown>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(options).flatMap(([name, value]) =>
      typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? [[name, String(value)]] : [],
    ),
  )

function endpointOf(route: RouteRow, destination: DestinationRow, row: InstanceRow, zone: string | undefined): RouteEndpoint[] {
  const { endpoint, instanceGuid, cellId } = row
  if (!endpoint || instanceGuid === null || cellId === null) return []
  const port =
    destination.port === null ? endpoint.ports[0] : endpoint.ports.find(({ internal }) => internal === destination.port)
  if (!port) return []
  return [
    {
      instanceGuid,
      appGuid: row.appGuid,
      appName: destination.appName,
      spaceGuid: destination.spaceGuid,
      organizationGuid: destination.organizationGuid,
      processGuid: row.processGuid,
      processType: row.processType,
      index: row.index,
      cellId,
      localAddress: `${endpoint.address}:${port.internal}`,
      hostAddress: `${endpoint.hostAddress}:${port.external}`,
      ...(endpoint.tlsPort === undefined ? {} : { tlsAddress: `${endpoint.hostAddress}:${endpoint.tlsPort}` }),
      protocol: protocolOf(route, destination),
      ...(zone === undefined || zone === DEFAULT_ZONE ? {} : { zone }),
      ...(destination.weight === null ? {} : { weight: destination.weight }),
    },
  ]
}

function protocolOf(route: RouteRow, { protocol }: DestinationRow): RouteEndpoint['protocol'] {
  if (protocol === 'http1' || protocol === 'http2' || protocol === 'tcp') return protocol
  return route.protocol === 'tcp' ? 'tcp' : 'http1'
}
