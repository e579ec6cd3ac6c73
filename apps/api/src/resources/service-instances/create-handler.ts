import type { Prisma, Transaction } from '@bloomery/database'
import { z } from 'zod'
import type { Context } from '../../http/context.js'
import { isManaged } from '../../service-bindings/bound-instance.js'
import { findOperatedInstance, findToldInstance } from '../../service-operations/operated.js'
import type { BrokerAnswer, Operation, OperationHandler } from '../../service-operations/operation.js'
import { auditParameters, recordInstanceEvent } from './instance-events.js'
import { lastOperation } from './last-operation.js'
import { brokerMetadataOf, maintenanceInfoOf, provisionRequest, targetOf } from './managed-request.js'

const CreateParams = z.object({
  parameters: z.record(z.string(), z.unknown()).optional(),
  /** What audit events tell of the request. */
  audited: z.record(z.string(), z.unknown()),
})
export type CreateParams = z.infer<typeof CreateParams>

/** Has a broker make an instance. */
export function createInstanceHandler({ db, now }: Pick<Context, 'db' | 'now'>): OperationHandler<CreateParams> {
  const note = async (
    tx: Transaction,
    operation: Operation<CreateParams>,
    state: 'in progress' | 'succeeded' | 'failed',
    description: string,
    data: Prisma.ServiceInstanceUpdateManyMutationInput = {},
  ): Promise<void> => {
    await tx.serviceInstance.updateMany({
      where: { guid: operation.resourceGuid },
      data: { ...data, lastOperation: { ...lastOperation('create', state, description, operation.createdAt, now()) } },
    })
  }
  const tell = async (
    tx: Transaction,
    { actor, resourceGuid, params }: Operation<CreateParams>,
    act: 'start_create' | 'create',
  ) => {
    const instance = await findToldInstance(tx, resourceGuid)
    if (instance) await recordInstanceEvent(tx, actor, instance, act, auditParameters(params.audited))
  }
  return {
    params: CreateParams,

    async plan({ resourceGuid, params }) {
      const instance = await findOperatedInstance(db, resourceGuid)
      if (!instance || !isManaged(instance)) return { kind: 'done' }
      return {
        kind: 'ask',
        target: targetOf(instance),
        request: { operation: 'provision', body: provisionRequest(instance, params.parameters) },
        fetch: instance.plan.offering.instancesRetrievable,
      }
    },

    async started(tx, operation, answer) {
      await note(tx, operation, 'in progress', '', made(answer))
      await tell(tx, operation, 'start_create')
    },

    progressed: (tx, operation, description) => note(tx, operation, 'in progress', description),

    async completed(tx, operation, answer) {
      await note(tx, operation, 'succeeded', answer.description ?? '', made(answer))
      await tell(tx, operation, 'create')
    },

    failed: (tx, operation, { description }) => note(tx, operation, 'failed', description),
  }
}

/** What the broker's answer says of the instance. An answer that says nothing of something leaves it. */
export const made = (answer: BrokerAnswer): Prisma.ServiceInstanceUpdateManyMutationInput => {
  const maintenance = maintenanceInfoOf(answer.maintenance_info)
  return {
    ...(answer.dashboard_url == null ? {} : { dashboardUrl: answer.dashboard_url }),
    ...brokerMetadataOf(answer.metadata),
    ...(maintenance ? { maintenanceInfo: { ...maintenance } } : {}),
  }
}
