import { MaintenanceInfo, type ProvisionRequest, type RequestContext, type UpdateRequest } from '@bloomery/osb'
import type { Prisma } from '@bloomery/database'
import type { Managed } from '../../service-bindings/bound-instance.js'
import { bindingContext, sharedAnnotations } from '../../service-bindings/request-context.js'
import type { OperatedInstance } from '../../service-operations/operated.js'
import type { BrokerAnswer, BrokerTarget } from '../../service-operations/operation.js'
import type { InstanceInSpace } from './find-service-instance.js'

/** An instance that a broker has made or is to make. */
export type ManagedInstance = Managed<InstanceInSpace>
type OperatedByBroker = Managed<OperatedInstance>

export const maintenanceInfoOf = (stored: unknown): MaintenanceInfo | undefined => MaintenanceInfo.safeParse(stored).data

export const targetOf = ({ guid, plan }: OperatedByBroker): BrokerTarget => ({
  brokerGuid: plan.offering.brokerGuid,
  instanceGuid: guid,
  serviceId: plan.offering.catalogId,
  planId: plan.catalogId,
  maximumPollingSeconds: plan.maximumPollingDuration ?? undefined,
})

const contextOf = (instance: OperatedByBroker, name = instance.name): RequestContext => ({
  ...bindingContext(instance.space),
  instance_name: name,
  instance_annotations: sharedAnnotations(instance.annotations),
})

export function provisionRequest(instance: OperatedByBroker, parameters: Parameters): ProvisionRequest {
  const maintenance = maintenanceInfoOf(instance.plan.maintenanceInfo)
  return {
    service_id: instance.plan.offering.catalogId,
    plan_id: instance.plan.catalogId,
    organization_guid: instance.space.organizationGuid,
    space_guid: instance.spaceGuid,
    context: contextOf(instance),
    ...(parameters && Object.keys(parameters).length > 0 ? { parameters } : {}),
    ...(maintenance ? { maintenance_info: { version: maintenance.version } } : {}),
  }
}

/** What an update carries; the plan is always named, parameters only where somebody gave some. */
export function updateRequest(
  instance: OperatedByBroker,
  wanted: {
    readonly name?: string | undefined
    readonly plan?: { readonly catalogId: string } | undefined
    readonly parameters?: Parameters
    readonly maintenanceVersion?: string | undefined
  },
): UpdateRequest {
  const maintenance = maintenanceInfoOf(instance.maintenanceInfo)
  return {
    service_id: instance.plan.offering.catalogId,
    plan_id: wanted.plan?.catalogId ?? instance.plan.catalogId,
    context: contextOf(instance, wanted.name),
    ...(wanted.parameters ? { parameters: wanted.parameters } : {}),
    previous_values: {
      service_id: instance.plan.offering.catalogId,
      plan_id: instance.plan.catalogId,
      organization_id: instance.space.organizationGuid,
      space_id: instance.spaceGuid,
      ...(maintenance ? { maintenance_info: maintenance } : {}),
    },
    ...(wanted.maintenanceVersion === undefined ? {} : { maintenance_info: { version: wanted.maintenanceVersion } }),
  }
}
type Parameters = Record<string, unknown> | undefined

/** What a broker tells of an instance beside its dashboard: labels and attributes. */
export const brokerMetadataOf = (
  metadata: BrokerAnswer['metadata'],
): Pick<Prisma.ServiceInstanceUpdateManyMutationInput, 'brokerMetadata'> =>
  metadata == null ? {} : { brokerMetadata: { ...metadata } as Prisma.InputJsonObject }
