import { Prisma, type Transaction } from '@bloomery/database'
import { z } from 'zod'
import type { Context } from '../../http/context.js'
import { applyMetadata, MetadataInput } from '../../http/metadata.js'
import { isManaged } from '../../service-bindings/bound-instance.js'
import { findOperatedInstance, findToldInstance } from '../../service-operations/operated.js'
import type { Operation, OperationHandler } from '../../service-operations/operation.js'
import { made } from './create-handler.js'
import { auditParameters, recordInstanceEvent } from './instance-events.js'
import { lastOperation } from './last-operation.js'
import { maintenanceInfoOf, targetOf, updateRequest } from './managed-request.js'
import { afterFailure, describeFailure, USABLE_AGAIN } from './usability.js'

const UpdateParams = z.object({
  name: z.string().optional(),
  tags: z.array(z.string()).optional(),
  metadata: MetadataInput.optional(),
  parameters: z.record(z.string(), z.unknown()).optional(),
  /** The plan afterwards. */
  planGuid: z.string(),
  maintenanceVersion: z.string().optional(),
  audited: z.record(z.string(), z.unknown()),
})
export type UpdateParams = z.infer<typeof UpdateParams>

/** Has a broker change an instance; here nothing changes before the broker has. */
export function updateInstanceHandler({
  db,
  now,
  keyring,
}: Pick<Context, 'db' | 'now' | 'keyring'>): OperationHandler<UpdateParams> {
  const note = async (
    tx: Transaction,
    operation: Operation<UpdateParams>,
    state: 'in progress' | 'succeeded' | 'failed',
    description: string,
    data: Prisma.ServiceInstanceUncheckedUpdateManyInput = {},
  ): Promise<void> => {
    await tx.serviceInstance.updateMany({
      where: { guid: operation.resourceGuid },
      data: { ...data, lastOperation: { ...lastOperation('update', state, description, operation.createdAt, now()) } },
    })
  }
  return {
    params: UpdateParams,

    async plan({ resourceGuid, params }) {
      const instance = await findOperatedInstance(db, resourceGuid)
      if (!instance || !isManaged(instance)) return { kind: 'done' }
      const plan = await db.servicePlan.findUnique({ where: { guid: params.planGuid } })
      return {
        kind: 'ask',
        target: targetOf(instance),
        request: { operation: 'update', body: updateRequest(instance, { ...params, plan: plan ?? undefined }) },
        fetch: instance.plan.offering.instancesRetrievable,
      }
    },

    async started(tx, operation, answer) {
      await note(tx, operation, 'in progress', '', made(answer))
      const instance = await findToldInstance(tx, operation.resourceGuid)
      if (instance)
        await recordInstanceEvent(tx, operation.actor, instance, 'start_update', auditParameters(operation.params.audited))
    },

    progressed: (tx, operation, description) => note(tx, operation, 'in progress', description),

    async completed(tx, operation, answer) {
      const { params } = operation
      const instance = await tx.serviceInstance.findUnique({ where: { guid: operation.resourceGuid }, include: { space: true } })
      if (!instance) return
      await note(tx, operation, 'succeeded', answer.description ?? '', {
        ...(params.name === undefined ? {} : { name: params.name }),
        ...(params.tags === undefined ? {} : { tags: params.tags }),
        planGuid: params.planGuid,
        ...(await maintenanceAfter(tx, instance, params)),
        ...applyMetadata(instance, params.metadata),
        ...made(answer),
        ...USABLE_AGAIN,
      })
      await recordInstanceEvent(tx, operation.actor, instance, 'update', auditParameters(params.audited))
    },

    failed: (tx, operation, failure) =>
      note(
        tx,
        operation,
        'failed',
        describeFailure('update', failure),
        afterFailure(keyring, operation.resourceGuid, failure, operation.params),
      ),
  }
}

/** A new plan brings its version with it, or none; an upgrade brings the version that was asked for. */
async function maintenanceAfter(
  tx: Transaction,
  instance: { readonly planGuid: string | null },
  params: UpdateParams,
): Promise<Pick<Prisma.ServiceInstanceUncheckedUpdateManyInput, 'maintenanceInfo'>> {
  if (params.planGuid === instance.planGuid && params.maintenanceVersion === undefined) return {}
  const plan = await tx.servicePlan.findUnique({ where: { guid: params.planGuid } })
  const info = maintenanceInfoOf(plan?.maintenanceInfo)
  if (params.maintenanceVersion !== undefined && params.maintenanceVersion !== info?.version)
    return { maintenanceInfo: { version: params.maintenanceVersion } }
  return { maintenanceInfo: info ? { ...info } : Prisma.DbNull }
}
