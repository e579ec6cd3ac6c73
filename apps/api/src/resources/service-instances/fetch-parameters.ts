import type { FastifyReply, FastifyRequest } from 'fastify'
import { CfError } from '@bloomery/contracts'
import type { Context } from '../../http/context.js'
import { notFound } from '../../http/errors.js'
import { isManaged } from '../../service-bindings/bound-instance.js'
import { brokerError } from '../../service-operations/broker-errors.js'
import type { InstanceInSpace } from './find-service-instance.js'
import { isBeingCreated, isCreateFailed, readLastOperation } from './last-operation.js'
import { targetOf } from './managed-request.js'

/** The parameters that an instance has now, as its broker tells. */
export async function fetchParameters(
  { brokers }: Pick<Context, 'brokers'>,
  request: FastifyRequest,
  reply: FastifyReply,
  instance: InstanceInSpace,
): Promise<Record<string, unknown>> {
  if (isCreateFailed(instance)) throw notFound('Service instance')
  if (!isManaged(instance) || !instance.plan.offering.instancesRetrievable)
    throw new CfError(
      'ServiceFetchInstanceParametersNotSupported',
      'This service does not support fetching service instance parameters.',
    )
  if (isBeingCreated(instance) || readLastOperation(instance.lastOperation)?.state === 'in progress')
    throw new CfError(
      'AsyncServiceInstanceOperationInProgress',
      `An operation for service instance ${instance.name} is in progress.`,
    )
  const target = targetOf(instance)
  const client = await brokers.of(target.brokerGuid)
  const fetched = await brokers.calls.within(request, reply, () =>
    client.fetchInstance(instance.guid, target, { userGuid: request.principal.guid, requestId: request.id }),
  )
  if (fetched.kind === 'failed') throw brokerError(fetched)
  return fetched.answer.parameters ?? {}
}
