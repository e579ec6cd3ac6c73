import { setTimeout as delay } from 'node:timers/promises'
import { CfError } from '@bloomery/contracts'
import type { Prisma, Transaction } from '@bloomery/database'
import type { Context } from '../../http/context.js'
import { unprocessable } from '../../http/errors.js'
import type { JobActor } from '../../jobs/jobs.js'
import { isManaged } from '../../service-bindings/bound-instance.js'
import { requireIdle } from '../../service-operations/accept-operation.js'
import { ROUTE_BINDING_PARTS, type RouteBindingParts } from './binding-parts.js'
import { recordRouteBindingEvent } from './route-binding-events.js'

const LOOK_EVERY_MS = 300

/** Takes a service away from before a route: by itself with a job, or as part of a deletion that waits for it. */
export async function deleteRouteBinding(
  tx: Transaction,
  { operations }: Pick<Context, 'operations'>,
  actor: JobActor,
  binding: RouteBindingParts,
  as: 'itself' | 'part' = 'itself',
): Promise<{ isGone: boolean; jobGuid: string | undefined }> {
  const { serviceInstance: instance } = binding
  if (!isManaged(instance)) {
    await removeRouteBinding(tx, actor, binding)
    return { isGone: true, jobGuid: undefined }
  }
  await tx.$executeRaw`SELECT 1 FROM service_instances WHERE guid = ${instance.guid} FOR NO KEY UPDATE`
  if (as === 'itself') await requireIdle(tx, instance)
  const which = { resourceType: 'route_binding', resourceGuid: binding.guid, type: 'create' } as const
  const making = await tx.serviceOperation.findFirst({ where: which })
  if (making?.phase === 'polling')
    await operations.cancel(
      tx,
      which,
      new CfError('UnableToPerform', 'bind could not be completed: the binding was deleted meanwhile'),
    )
  else if (making && as === 'itself') throw unprocessable('There is an operation in progress for the service binding.')
  const { jobGuid } = await operations.enqueue(tx, {
    ...which,
    type: 'delete',
    serviceInstanceGuid: instance.guid,
    brokerGuid: instance.plan.offering.brokerGuid,
    params: {},
    actor,
    ...(as === 'itself' ? { job: { operation: 'service_route_bindings.delete', resourceType: 'service_route_bindings' } } : {}),
  })
  return { isGone: false, jobGuid }
}

/** Removes a binding that no broker knows of. */
export async function removeRouteBinding(tx: Transaction, actor: JobActor, binding: RouteBindingParts): Promise<void> {
  const { count } = await tx.routeBinding.deleteMany({ where: { guid: binding.guid } })
  if (count > 0) await recordRouteBindingEvent(tx, actor, binding, 'delete')
}

/** Unbinds every route of that kind, as part of their deletion, and waits for brokers that take their time. */
export async function unbindRoutes(
  context: Pick<Context, 'db' | 'operations'>,
  where: Prisma.RouteWhereInput,
  actor: JobActor,
): Promise<void> {
  const { db, operations } = context
  const asked = await db.$transaction(async (tx) => {
    const bindings = await tx.routeBinding.findMany({
      where: { route: where },
      include: ROUTE_BINDING_PARTS,
      orderBy: { guid: 'asc' },
    })
    for (const binding of bindings) await deleteRouteBinding(tx, context, actor, binding, 'part')
    return bindings.map(({ guid }) => guid)
  })
  if (asked.length === 0) return
  operations.kick()
  for (;;) {
    const left = await db.routeBinding.findMany({
      where: { guid: { in: asked } },
      include: { serviceInstance: { select: { name: true } } },
    })
    if (left.length === 0) return
    const underWay = await db.serviceOperation.count({
      where: { resourceType: 'route_binding', resourceGuid: { in: left.map(({ guid }) => guid) } },
    })
    if (underWay === 0)
      throw unprocessable(
        left.map(({ serviceInstance, lastOperation }) => {
          const { description } = (lastOperation ?? {}) as { description?: string }
          return `The service instance '${serviceInstance.name}' could not be unbound from its route: ${description ?? ''}`
        }),
      )
    await delay(LOOK_EVERY_MS)
  }
}
