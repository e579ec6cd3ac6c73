import type { ServiceInstance, ServicePlan } from '@bloomery/database'
import { isUpgradeAvailable } from '@bloomery/domain'
import { z } from 'zod'
import { presentMetadata } from '../../http/metadata.js'

const Versioned = z.object({ version: z.string() })
/** The version in a maintenance_info, as it is kept with plans and instances. */
export const maintenanceVersionOf = (info: unknown): string | undefined => Versioned.safeParse(info).data?.version

type Presentable = ServiceInstance & { readonly plan?: Pick<ServicePlan, 'maintenanceInfo'> | null }

/** An instance without its credentials, which stand at an address of their own. */
export const presentServiceInstance = (instance: Presentable, baseUrl: string) => {
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
      : managedFields(instance)),
    relationships: {
      space: { data: { guid: instance.spaceGuid } },
      ...(instance.planGuid === null ? {} : { service_plan: { data: { guid: instance.planGuid } } }),
    },
    metadata: presentMetadata(instance),
    links: {
      self: { href: self },
      space: { href: `${baseUrl}/v3/spaces/${instance.spaceGuid}` },
      service_credential_bindings: { href: `${baseUrl}/v3/service_credential_bindings?${query}` },
      service_route_bindings: { href: `${baseUrl}/v3/service_route_bindings?${query}` },
      ...(instance.planGuid === null
        ? { credentials: { href: `${self}/credentials` } }
        : {
            service_plan: { href: `${baseUrl}/v3/service_plans/${instance.planGuid}` },
            parameters: { href: `${self}/parameters` },
            shared_spaces: { href: `${self}/relationships/shared_spaces` },
          }),
    },
  }
}

const managedFields = (instance: Presentable) => ({
  maintenance_info: instance.maintenanceInfo ?? {},
  upgrade_available: isUpgradeAvailable(
    maintenanceVersionOf(instance.maintenanceInfo),
    maintenanceVersionOf(instance.plan?.maintenanceInfo),
  ),
  dashboard_url: instance.dashboardUrl,
  ...(Object.keys(instance.brokerMetadata as object).length > 0 ? { broker_provided_metadata: instance.brokerMetadata } : {}),
})
