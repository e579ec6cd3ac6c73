import { CfError } from '@bloomery/contracts'
import type { Prisma, Transaction } from '@bloomery/database'
import { z } from 'zod'
import type { Context } from '../../http/context.js'
import { isManaged } from '../../service-bindings/bound-instance.js'
import { findOperatedInstance, findToldInstance, type OperatedInstance } from '../../service-operations/operated.js'
import type { Operation, OperationHandler, Step } from '../../service-operations/operation.js'
import { recordInstanceEvent } from './instance-events.js'
import { lastOperation, readLastOperation } from './last-operation.js'
import { targetOf } from './managed-request.js'
import { afterFailure, describeFailure } from './usability.js'

const DeleteParams = z.object({})
type DeleteParams = z.infer<typeof DeleteParams>

/** How often a delete looks whether the bindings of its instance are gone. */
const BINDINGS_WAIT_MS = 300

/** Has a broker remove an instance, once all that hangs on it is gone. */
export function deleteInstanceHandler({
  db,
  now,
  operations,
  nudges,
  keyring,
}: Pick<Context, 'db' | 'now' | 'operations' | 'nudges' | 'keyring'>): OperationHandler<DeleteParams> {
  const note = async (
    tx: Transaction,
    operation: Operation<DeleteParams>,
    state: 'in progress' | 'failed',
    description: string,
    data: Prisma.ServiceInstanceUncheckedUpdateManyInput = {},
  ): Promise<void> => {
    await tx.serviceInstance.updateMany({
      where: { guid: operation.resourceGuid },
      data: { ...data, lastOperation: { ...lastOperation('delete', state, description, operation.createdAt, now()) } },
    })
  }

  /** Bindings are unbound first; what is left of an earlier failure is tried again. */
  async function unbindAll(operation: Operation<DeleteParams>, instance: OperatedInstance): Promise<Step | undefined> {
    const where = { serviceInstanceGuid: instance.guid }
    const [credentialBindings, routeBindings, pending] = await Promise.all([
      db.credentialBinding.findMany({ where }),
      db.routeBinding.findMany({ where }),
      db.serviceOperation.findMany({ where: { ...where, type: 'delete', resourceType: { not: 'instance' } } }),
    ])
    const bindings = [
      ...credentialBindings.map((binding) => ({ ...binding, resourceType: 'credential_binding' as const })),
      ...routeBindings.map((binding) => ({ ...binding, resourceType: 'route_binding' as const })),
    ]
    if (bindings.length === 0) return undefined
    const refused = bindings.filter((binding) => failedSince(binding.lastOperation, operation.createdAt))
    const waiting = bindings.filter(
      (binding) => !refused.includes(binding) && !pending.some(({ resourceGuid }) => resourceGuid === binding.guid),
    )
    if (waiting.length > 0) {
      await db.$transaction(async (tx) => {
        for (const { guid, resourceType } of waiting)
          await operations.enqueue(tx, {
            resourceType,
            resourceGuid: guid,
            serviceInstanceGuid: instance.guid,
            type: 'delete',
            brokerGuid: instance.plan?.offering.brokerGuid ?? null,
            params: {},
            actor: operation.actor,
          })
      })
      operations.kick()
    }
    if (refused.length < bindings.length) return { kind: 'wait', afterMs: BINDINGS_WAIT_MS }
    const reasons = refused.map(({ lastOperation: last }) => `\t${readLastOperation(last)?.description ?? ''}`)
    return {
      kind: 'refuse',
      error: new CfError(
        'ServiceInstanceRecursiveDeleteFailed',
        `Deletion of service instance ${instance.name} failed because one or more associated resources could not be deleted.\n\n${reasons.join('\n')}`,
      ),
    }
  }

  return {
    params: DeleteParams,

    async plan(operation) {
      const instance = await findOperatedInstance(db, operation.resourceGuid)
      if (!instance) return { kind: 'done' }
      const first = await unbindAll(operation, instance)
      if (first) return first
      if (!isManaged(instance)) return { kind: 'done' }
      return { kind: 'ask', target: targetOf(instance), request: { operation: 'deprovision' }, fetch: false }
    },

    async started(tx, operation) {
      await callOffCreate(tx, operation)
      await note(tx, operation, 'in progress', '')
      const instance = await findToldInstance(tx, operation.resourceGuid)
      if (instance) await recordInstanceEvent(tx, operation.actor, instance, 'start_delete')
    },

    progressed: (tx, operation, description) => note(tx, operation, 'in progress', description),

    async completed(tx, operation) {
      await callOffCreate(tx, operation)
      const instance = await findToldInstance(tx, operation.resourceGuid)
      if (!instance) return
      const { count } = await tx.serviceInstance.deleteMany({ where: { guid: instance.guid } })
      if (count === 0) return
      await recordInstanceEvent(tx, operation.actor, instance, 'delete')
      nudges.send({ topic: 'scheduler' })
    },

    async failed(tx, operation, failure) {
      // A broker that goes on creating has not begun to delete: the creation is what the user should see.
      const creating = await tx.serviceOperation.count({
        where: { resourceType: 'instance', resourceGuid: operation.resourceGuid, type: 'create' },
      })
      if (creating > 0) return
      await note(
        tx,
        operation,
        'failed',
        describeFailure('delete', failure),
        afterFailure(keyring, operation.resourceGuid, failure),
      )
    },
  }

  /** Once the broker deletes, nobody waits for it to create. */
  async function callOffCreate(tx: Transaction, { resourceGuid }: Operation<DeleteParams>): Promise<void> {
    await operations.cancel(
      tx,
      { resourceType: 'instance', resourceGuid, type: 'create' },
      new CfError('UnableToPerform', 'create could not be completed: delete in progress'),
    )
  }
}

const failedSince = (stored: unknown, since: Date): boolean => {
  const last = readLastOperation(stored)
  return last?.type === 'delete' && last.state === 'failed' && new Date(last.updated_at) >= since
}
