import type { Transaction } from '@bloomery/database'
import { z } from 'zod'
import type { Context } from '../../http/context.js'
import { bindingTarget, isManaged } from '../../service-bindings/bound-instance.js'
import { lastOperation } from '../../service-bindings/last-operation.js'
import { unbindFailure } from '../../service-bindings/unbind-failure.js'
import type { Operation, OperationHandler } from '../../service-operations/operation.js'
import { recordBindingEvent } from './binding-events.js'
import { BINDING_PARTS, spaceOfBinding } from './binding-parts.js'

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
  const find = (on: Pick<Transaction, 'credentialBinding'>, guid: string) =>
    on.credentialBinding.findUnique({ where: { guid }, include: BINDING_PARTS })
  return {
    params: UnbindParams,

    async plan({ resourceGuid }) {
      const binding = await find(db, resourceGuid)
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
      const binding = await find(tx, operation.resourceGuid)
      if (binding) await recordBindingEvent(tx, operation.actor, binding, spaceOfBinding(binding), 'start_delete')
    },

    progressed: (tx, operation, description) => note(tx, operation, 'in progress', description),

    async completed(tx, operation) {
      const binding = await find(tx, operation.resourceGuid)
      if (!binding) return
      await tx.credentialBinding.delete({ where: { guid: binding.guid } })
      await recordBindingEvent(tx, operation.actor, binding, spaceOfBinding(binding), 'delete')
    },

    failed: (tx, operation, { description }) => note(tx, operation, 'failed', description),
  }
}
