import type { ServiceInstance } from '@bloomery/database'
import { presentMetadata } from '../../http/metadata.js'

/** What the client prints as the state of a service instance or binding. */
export interface LastOperation {
  readonly type: 'create' | 'update' | 'delete'
  readonly state: 'initial' | 'in progress' | 'succeeded' | 'failed'
  readonly description: string
  readonly created_at: string
  readonly updated_at: string
}

/** Of an operation that was done at once. */
export const succeeded = (type: LastOperation['type'], at: Date): LastOperation => ({
  type,
  state: 'succeeded',
  description: 'Operation succeeded',
  created_at: at.toISOString(),
  updated_at: at.toISOString(),
})

/** An instance without its credentials, which stand at an address of their own. */
export const presentServiceInstance = (instance: ServiceInstance, baseUrl: string) => {
  const self = `${baseUrl}/v3/service_instances/${instance.guid}`
  const query = `service_instance_guids=${instance.guid}`
  return {
    guid: instance.guid,
    created_at: instance.createdAt.toISOString(),
    updated_at: instance.updatedAt.toISOString(),
    name: instance.name,
    tags: instance.tags,
    last_operation: instance.lastOperation,
    type: instance.type,
    ...(instance.type === 'user-provided'
      ? { syslog_drain_url: instance.syslogDrainUrl, route_service_url: instance.routeServiceUrl }
      : { maintenance_info: {}, upgrade_available: false, dashboard_url: null }),
    relationships: { space: { data: { guid: instance.spaceGuid } } },
    metadata: presentMetadata(instance),
    links: {
      self: { href: self },
      space: { href: `${baseUrl}/v3/spaces/${instance.spaceGuid}` },
      service_credential_bindings: { href: `${baseUrl}/v3/service_credential_bindings?${query}` },
      service_route_bindings: { href: `${baseUrl}/v3/service_route_bindings?${query}` },
      ...(instance.type === 'user-provided' ? { credentials: { href: `${self}/credentials` } } : {}),
    },
  }
}
