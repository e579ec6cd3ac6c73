import { CfError } from '@bloomery/contracts'
import type { Transaction } from '@bloomery/database'
import { z } from 'zod'
import type { Context } from '../../http/context.js'
import { bindingTarget, isManaged, unexpectedGift } from '../../service-bindings/bound-instance.js'
import { lastOperation } from '../../service-bindings/last-operation.js'
import { bindingContext } from '../../service-bindings/request-context.js'
import type { Operation, OperationHandler } from '../../service-operations/operation.js'
import { routeUrl } from '../routes/presenter.js'
import { ROUTE_BINDING_PARTS } from './binding-parts.js'
import { recordRouteBindingEvent } from './route-binding-events.js'

const BindParams = z.object({ parameters: z.record(z.string(), z.unknown()).optional() })
type BindParams = z.infer<typeof BindParams>

/** Asks a broker for the address that requests of a route pass through. */
export function routeBindHandler({ db, nudges }: Pick<Context, 'db' | 'nudges'>): OperationHandler<BindParams> {
  const find = (on: Pick<Transaction, 'routeBinding'>, guid: string) =>
    on.routeBinding.findUnique({ where: { guid }, include: ROUTE_BINDING_PARTS })
  const note = async (
    tx: Transaction,
    operation: Operation<BindParams>,
    state: 'in progress' | 'succeeded' | 'failed',
    description: string,
    routeServiceUrl?: string | null,
  ) => {
    await tx.routeBinding.updateMany({
      where: { guid: operation.resourceGuid },
      data: {
        lastOperation: lastOperation('create', state, description, operation.createdAt),
        ...(routeServiceUrl === undefined ? {} : { routeServiceUrl }),
      },
    })
  }
  const tell = async (tx: Transaction, operation: Operation<BindParams>, act: 'start_create' | 'create') => {
    const binding = await find(tx, operation.resourceGuid)
    if (binding) await recordRouteBindingEvent(tx, operation.actor, binding, act)
  }
  return {
    params: BindParams,

    async plan({ resourceGuid, params: { parameters } }) {
      const binding = await find(db, resourceGuid)
      if (!binding || !isManaged(binding.serviceInstance)) return { kind: 'done' }
      const target = bindingTarget(binding.serviceInstance, binding.guid)
      return {
        kind: 'ask',
        target,
        request: {
          operation: 'bind',
          body: {
            service_id: target.serviceId,
            plan_id: target.planId,
            bind_resource: { route: routeUrl(binding.route, binding.route.domain) },
            context: bindingContext(binding.serviceInstance.space),
            ...(parameters && Object.keys(parameters).length > 0 ? { parameters } : {}),
          },
        },
        fetch: binding.serviceInstance.plan.offering.bindingsRetrievable,
      }
    },

    async inspect({ resourceGuid }, answer) {
      const binding = await find(db, resourceGuid)
      if (!binding?.serviceInstance.plan) return undefined
      const { route_service_url: url } = answer
      if (url != null && !(URL.canParse(url) && new URL(url).protocol === 'https:'))
        return new CfError(
          'ServiceBrokerBadResponse',
          'The service broker returned an invalid route service address: it must be https.',
        )
      return unexpectedGift(binding.serviceInstance.plan.offering, answer)
    },

    async started(tx, operation) {
      await note(tx, operation, 'in progress', '')
      await tell(tx, operation, 'start_create')
    },

    progressed: (tx, operation, description) => note(tx, operation, 'in progress', description),

    async completed(tx, operation, answer) {
      await note(tx, operation, 'succeeded', '', answer.route_service_url ?? null)
      await tell(tx, operation, 'create')
      nudges.send({ topic: 'scheduler' })
    },

    failed: (tx, operation, { description }) => note(tx, operation, 'failed', description),
  }
}
