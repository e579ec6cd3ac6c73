import { presentMetadata } from '../../http/metadata.js'
import type { RouteBindingParts } from './binding-parts.js'

/** A user-provided instance's address is that of the instance, so that changing it there reaches every bound route. */
export const presentRouteBinding = (binding: RouteBindingParts, baseUrl: string) => {
  const self = `${baseUrl}/v3/service_route_bindings/${binding.guid}`
  return {
    guid: binding.guid,
    created_at: binding.createdAt.toISOString(),
    updated_at: binding.updatedAt.toISOString(),
    route_service_url: binding.routeServiceUrl ?? binding.serviceInstance.routeServiceUrl,
    last_operation: binding.lastOperation,
    metadata: presentMetadata(binding),
    relationships: {
      service_instance: { data: { guid: binding.serviceInstanceGuid } },
      route: { data: { guid: binding.routeGuid } },
    },
    links: {
      self: { href: self },
      service_instance: { href: `${baseUrl}/v3/service_instances/${binding.serviceInstanceGuid}` },
      route: { href: `${baseUrl}/v3/routes/${binding.routeGuid}` },
      ...(binding.serviceInstance.plan === null ? {} : { parameters: { href: `${self}/parameters` } }),
    },
  }
}
