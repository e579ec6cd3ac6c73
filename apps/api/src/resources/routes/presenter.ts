import type { App, Domain, Route, RouteDestination, RouteSharing } from '@bloomery/database'
import { presentMetadata } from '../../http/metadata.js'

export type DestinationWithApp = RouteDestination & { app: Pick<App, 'lifecycleType' | 'spaceGuid'> }
export type RouteWithDomain = Route & { domain: Domain; destinations: DestinationWithApp[]; sharings: RouteSharing[] }
/** What `presentRoute` needs along with a route. */
export const ROUTE_PARTS = {
  domain: true,
  destinations: { include: { app: { select: { lifecycleType: true, spaceGuid: true } } }, orderBy: { guid: 'asc' } },
  sharings: { orderBy: { spaceGuid: 'asc' } },
} as const

/** The port to which buildpack apps listen unless told otherwise. */
export const DEFAULT_APP_PORT = 8080

/** host.domain[:port][/path], as the client shows and takes apart. */
export const routeUrl = (route: Pick<Route, 'host' | 'path' | 'port'>, domain: Pick<Domain, 'name'>): string => {
  const name = route.host === '' ? domain.name : `${route.host}.${domain.name}`
  return route.port > 0 ? `${name}:${route.port}` : `${name}${route.path}`
}

/** How instances are spoken to where a destination does not say. */
export const defaultProtocol = (route: Pick<Route, 'port'>): string => (route.port > 0 ? 'tcp' : 'http1')

export const presentDestination = (route: Pick<Route, 'port'>, destination: DestinationWithApp) => ({
  guid: destination.guid,
  app: { guid: destination.appGuid, process: { type: destination.processType } },
  weight: destination.weight,
  port: destination.port ?? (destination.app.lifecycleType === 'docker' ? null : DEFAULT_APP_PORT),
  protocol: destination.protocol ?? defaultProtocol(route),
  created_at: destination.createdAt.toISOString(),
  updated_at: destination.updatedAt.toISOString(),
})

export const presentDestinations = (route: RouteWithDomain, baseUrl: string) => ({
  destinations: route.destinations.map((each) => presentDestination(route, each)),
  links: {
    self: { href: `${baseUrl}/v3/routes/${route.guid}/destinations` },
    route: { href: `${baseUrl}/v3/routes/${route.guid}` },
  },
})

/** Only strings that are there: a null or a number among the options makes the client crash. */
const presentOptions = (options: unknown): Record<string, string> =>
  Object.fromEntries(
    Object.entries((options ?? {}) as Record<string, unknown>).flatMap(([key, value]) =>
      value == null ? [] : [[key, String(value as string | number)]],
    ),
  )

export const presentRoute = (route: RouteWithDomain, baseUrl: string) => {
  const self = `${baseUrl}/v3/routes/${route.guid}`
  return {
    guid: route.guid,
    created_at: route.createdAt.toISOString(),
    updated_at: route.updatedAt.toISOString(),
    protocol: route.protocol,
    host: route.host,
    path: route.path,
    port: route.port === 0 ? null : route.port,
    url: routeUrl(route, route.domain),
    destinations: route.destinations.map((each) => presentDestination(route, each)),
    options: presentOptions(route.options),
    metadata: presentMetadata(route),
    relationships: {
      space: { data: { guid: route.spaceGuid } },
      shared_spaces: { data: route.sharings.map(({ spaceGuid }) => ({ guid: spaceGuid })) },
      domain: { data: { guid: route.domainGuid } },
    },
    links: {
      self: { href: self },
      space: { href: `${baseUrl}/v3/spaces/${route.spaceGuid}` },
      destinations: { href: `${self}/destinations` },
      domain: { href: `${baseUrl}/v3/domains/${route.domainGuid}` },
    },
  }
}
