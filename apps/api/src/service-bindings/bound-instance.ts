import type { Prisma, ServiceOffering, ServicePlan, Transaction } from '@bloomery/database'
import { CfError } from '@bloomery/contracts'
import { notFound, unprocessable } from '../http/errors.js'
import { unusable } from '../resources/service-instances/usability.js'
import { requireIdle } from '../service-operations/accept-operation.js'
import type { BrokerTarget } from '../service-operations/operation.js'

/** What a binding needs to know of its service instance. */
export const BOUND_INSTANCE = {
  space: { include: { organization: true } },
  sharings: { include: { space: { include: { organization: true } } } },
  plan: { include: { offering: { include: { broker: true } } } },
} as const
export type BoundInstance = Prisma.ServiceInstanceGetPayload<{ include: typeof BOUND_INSTANCE }>
/** One that a broker has made or is to make. */
export type Managed<T extends { readonly plan: unknown }> = T & { readonly plan: NonNullable<T['plan']> }
export type ManagedInstance = Managed<BoundInstance>

export const isManaged = <T extends { readonly plan: unknown }>(instance: T): instance is Managed<T> => instance.plan !== null

const isBindable = (plan: Pick<ServicePlan, 'bindable'> & { readonly offering: Pick<ServiceOffering, 'bindable'> }): boolean =>
  plan.bindable ?? plan.offering.bindable

/** The spaces that may bind it: its own, and those it is shared into. */
export const spacesOf = (instance: BoundInstance) => [instance.space, ...instance.sharings.map(({ space }) => space)]

/** Takes the instance's row until the transaction ends; answers it as it is now. */
export async function lockBoundInstance(tx: Transaction, guid: string): Promise<BoundInstance> {
  await tx.$executeRaw`SELECT 1 FROM service_instances WHERE guid = ${guid} FOR NO KEY UPDATE`
  const instance = await tx.serviceInstance.findUnique({ where: { guid }, include: BOUND_INSTANCE })
  if (!instance) throw notFound('Service instance')
  return instance
}

/** Refuses to bind what its broker would not bind now, whatever the binding is for. */
export async function requireBindable(tx: Transaction, instance: ManagedInstance): Promise<void> {
  if (!isBindable(instance.plan)) throw unprocessable('Service plan does not allow bindings.')
  if (!instance.plan.active) throw unprocessable('Service plan is not available.')
  if (instance.plan.offering.broker.state !== 'AVAILABLE')
    throw unprocessable(
      `The service instance cannot be bound because there is an operation in progress for the service broker, or its catalog could not be read.`,
    )
  if (isFailedCreate(instance.lastOperation))
    throw unprocessable(`The service instance ${instance.name} was not created; delete it and create it again.`)
  await requireIdle(tx, instance, 'bind')
  const fault = unusable(instance)
  if (fault) throw fault
}

export const isFailedCreate = (operation: unknown): boolean => hasState(operation, 'create', 'failed')
/** It goes, or would not go when it was to. */
export const isLeaving = (operation: unknown): boolean => (operation as { type?: unknown } | null | undefined)?.type === 'delete'
export const isCreating = (operation: unknown): boolean =>
  hasState(operation, 'create', 'initial') || hasState(operation, 'create', 'in progress')

/** Whether a binding with this last operation exists for those who use it: made, and not gone yet. */
export const isMade = (operation: unknown): boolean => !isCreating(operation) && !isFailedCreate(operation)

const hasState = (operation: unknown, type: string, state: string): boolean => {
  const { type: seenType, state: seenState } = (operation ?? {}) as { type?: unknown; state?: unknown }
  return seenType === type && seenState === state
}

/** Whom the request about a binding goes to. */
export const bindingTarget = (
  instance: {
    readonly guid: string
    readonly plan: Pick<ServicePlan, 'catalogId' | 'maximumPollingDuration'> & {
      readonly offering: Pick<ServiceOffering, 'brokerGuid' | 'catalogId'>
    }
  },
  bindingGuid: string,
): BrokerTarget => ({
  brokerGuid: instance.plan.offering.brokerGuid,
  instanceGuid: instance.guid,
  bindingGuid,
  serviceId: instance.plan.offering.catalogId,
  planId: instance.plan.catalogId,
  ...(instance.plan.maximumPollingDuration === null ? {} : { maximumPollingSeconds: instance.plan.maximumPollingDuration }),
})

interface Gifts {
  readonly syslog_drain_url?: unknown
  readonly route_service_url?: unknown
  readonly volume_mounts?: unknown
}
const isGiven = (value: unknown): boolean => (Array.isArray(value) ? value.length > 0 : value != null && value !== '')

/** Whether an answer has anything that an offering must have announced. */
export const isGift = ({ syslog_drain_url, route_service_url, volume_mounts }: Gifts): boolean =>
  [syslog_drain_url, route_service_url, volume_mounts].some(isGiven)

/** A drain, a route service or volumes of an offering that has not said it gives any: nobody expects them, so they are refused. */
export function unexpectedGift(offering: Pick<ServiceOffering, 'requires'>, answer: Gifts): CfError | undefined {
  const lacks = (requirement: string): boolean => !offering.requires.includes(requirement)
  if (isGiven(answer.syslog_drain_url) && lacks('syslog_drain'))
    return refused('stream logs from your application, but is not registered as a logging service')
  if (isGiven(answer.volume_mounts) && lacks('volume_mount'))
    return refused('supply volume mounts to your application, but is not registered as a volume mount service')
  if (isGiven(answer.route_service_url) && lacks('route_forwarding'))
    return refused('proxy requests to your application, but is not registered as a route service')
  return undefined
}

const refused = (what: string): CfError =>
  new CfError('ServiceBrokerBadResponse', `The service is attempting to ${what}. Please contact the service provider.`)
