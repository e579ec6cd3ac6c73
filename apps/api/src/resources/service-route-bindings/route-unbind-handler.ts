import type { Transaction } from '@bloomery/database'
import { z } from 'zod'
import type { Context } from '../../http/context.js'
import { bindingTarget, isManaged } from '../../service-bindings/bound-instance.js'
import { lastOperation } from '../../service-bindings/last-operation.js'
import { unbindFailure } from '../../service-bindings/unbind-failure.js'
import type { Operation, OperationHandler } from '../../service-operations/operation.js'
import { ROUTE_BINDING_PARTS } from './binding-parts.js'
import { recordRouteBindingEvent } from './route-binding-events.js'

const UnbindParams = z.looseObject({})
type UnbindParams = z.infer<typeof UnbindParams>
const CREATE_WAIT_MS = 500

/** Takes a route binding back from its broker. Refused, it stays in front of the route, and says why. */
export function routeUnbindHandler({ db, nudges }: Pick<Context, 'db' | 'nudges'>): OperationHandler<UnbindParams> {
  const find = (on: Pick<Transaction, 'routeBinding'>, guid: string) =>
    on.routeBinding.findUnique({ where: { guid }, include: ROUTE_BINDING_PARTS })
  const note = async (
    tx: Transaction,
    operation: Operation<UnbindParams>,
    state: 'in progress' | 'failed',
    description: string,
  ) => {
    await tx.routeBinding.updateMany({
      where: { guid: operation.resourceGuid },
      data: { lastOperation: lastOperation('delete', state, description, operation.createdAt) },
    })
  }
  return {
    params: UnbindParams,

    async plan({ resourceGuid }) {
      const binding = await find(db, resourceGuid)
      if (!binding || !isManaged(binding.serviceInstance)) return { kind: 'done' }
      const making = await db.serviceOperation.count({ where: { resourceType: 'route_binding', resourceGuid, type: 'create' } })
      if (making > 0) return { kind: 'wait', afterMs: CREATE_WAIT_MS }
      const target = bindingTarget(binding.serviceInstance, binding.guid)
      const describeFailure = unbindFailure(binding.serviceInstance)
      return { kind: 'ask', target, request: { operation: 'unbind' }, fetch: false, describeFailure }
    },

    async started(tx, operation) {
      await note(tx, operation, 'in progress', '')
      const binding = await find(tx, operation.resourceGuid)
      if (binding) await recordRouteBindingEvent(tx, operation.actor, binding, 'start_delete')
    },

    progressed: (tx, operation, description) => note(tx, operation, 'in progress', description),

    async completed(tx, operation) {
      const binding = await find(tx, operation.resourceGuid)
      if (!binding) return
      await tx.routeBinding.delete({ where: { guid: binding.guid } })
      await recordRouteBindingEvent(tx, operation.actor, binding, 'delete')
      nudges.send({ topic: 'scheduler' })
    },

    failed: (tx, operation, { description }) => note(tx, operation, 'failed', description),
  }
}
