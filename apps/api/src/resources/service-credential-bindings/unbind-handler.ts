import type { Transaction } from '@bloomery/database'
import { z } from 'zod'
import type { Context } from '../../http/context.js'
import { bindingTarget, isManaged } from '../../service-bindings/bound-instance.js'
import { lastOperation } from '../../service-bindings/last-operation.js'
import { unbindFailure } from '../../service-bindings/unbind-failure.js'
import { findOperatedBinding, findToldBinding } from '../../service-operations/operated.js'
import type { Operation, OperationHandler } from '../../service-operations/operation.js'
import { recordBindingEvent } from './binding-events.js'

const UnbindParams = z.looseObject({})
type UnbindParams = z.infer<typeof UnbindParams>
const CREATE_WAIT_MS = 500

/** Takes an app binding or a key back from its broker. Refused, the binding stays, and says why. */
export function unbindHandler({ db }: Pick<Context, 'db'>): OperationHandler<UnbindParams> {
  const note = async (
    tx: Transaction,
    operation: Operation<UnbindParams>,
    state: 'in progress' | 'failed',
    description: string,
  ) => {
    await tx.credentialBinding.updateMany({
      where: { guid: operation.resourceGuid },
      data: { lastOperation: lastOperation('delete', state, description, operation.createdAt) },
    })
  }
  return {
    params: UnbindParams,

    async plan({ resourceGuid }) {
      const binding = await findOperatedBinding(db, resourceGuid)
      if (!binding || !isManaged(binding.serviceInstance)) return { kind: 'done' }
      // A bind whose answer is not known yet would come after us.
      const making = await db.serviceOperation.count({
        where: { resourceType: 'credential_binding', resourceGuid, type: 'create' },
      })
      if (making > 0) return { kind: 'wait', afterMs: CREATE_WAIT_MS }
      return {
        kind: 'ask',
        target: bindingTarget(binding.serviceInstance, binding.guid),
        request: { operation: 'unbind' },
        fetch: false,
        describeFailure: unbindFailure(binding.serviceInstance),
      }
    },

    async started(tx, operation) {
      await note(tx, operation, 'in progress', '')
      const told = await findToldBinding(tx, operation.resourceGuid)
      if (told) await recordBindingEvent(tx, operation.actor, told.binding, told.space, 'start_delete')
    },

    progressed: (tx, operation, description) => note(tx, operation, 'in progress', description),

    async completed(tx, operation) {
      const told = await findToldBinding(tx, operation.resourceGuid)
      if (!told) return
      const { count } = await tx.credentialBinding.deleteMany({ where: { guid: told.binding.guid } })
      if (count === 0) return
      await recordBindingEvent(tx, operation.actor, told.binding, told.space, 'delete')
    },

    failed: (tx, operation, { description }) => note(tx, operation, 'failed', description),
  }
}
