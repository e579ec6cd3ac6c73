import type { App, Domain, Route, RouteDestination } from '@bloomery/database'
import { presentMetadata } from '../../http/metadata.js'

export type DestinationWithApp = RouteDestination & { app: Pick<App, 'lifecycleType'> }
export type RouteWithDomain = Route & { domain: Domain; destinations: DestinationWithApp[] }
/** What `presentRoute` needs along with a route. */
export const ROUTE_PARTS = {
  domain: true,
  destinations: { include: { app: { select: { lifecycleType: true } } }, orderBy: { guid: 'asc' } },
} as const

/** The port to which buildpack apps listen unless told otherwise. */
export const DEFAULT_APP_PORT = 8080

/** host.domain[:port][/path], as the client shows and takes apart. */
export const routeUrl = (route: Pick<Route, 'host' | 'path' | 'port'>, domain: Pick<Domain, 'name'>): string =>
  route.port > 0
    ? `${domain.name}:${route.port}`
    : `${route.host === '' ? domain.name : `${route.host}.${domain.name}`}${route.path}`

export const presentDestination = (destination: DestinationWithApp) => ({
  guid: destination.guid,
  app: { guid: destination.appGuid, process: { type: destination.processType } },
  weight: destination.weight,
  port: destination.port ?? (destination.app.lifecycleType === 'docker' ? null : DEFAULT_APP_PORT),
  protocol: destination.protocol ?? 'http1',
  created_at: destination.createdAt.toISOString(),
  updated_at: destination.updatedAt.toISOString(),
})

export const presentDestinations = (route: RouteWithDomain, baseUrl: string) => ({
  destinations: route.destinations.map(presentDestination),
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
    destinations: route.destinations.map(presentDestination),
    options: presentOptions(route.options),
    metadata: presentMetadata(route),
    relationships: { space: { data: { guid: route.spaceGuid } }, domain: { data: { guid: route.domainGuid } } },
    links: {
      self: { href: self },
      space: { href: `${baseUrl}/v3/spaces/${route.spaceGuid}` },
      destinations: { href: `${self}/destinations` },
      domain: { href: `${baseUrl}/v3/domains/${route.domainGuid}` },
    },
  }
}
