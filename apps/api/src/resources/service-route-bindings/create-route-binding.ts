import { randomUUID } from 'node:crypto'
import { CfError } from '@bloomery/contracts'
import type { Transaction } from '@bloomery/database'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { applyMetadata, type MetadataInput } from '../../http/metadata.js'
import type { JobActor } from '../../jobs/jobs.js'
import {
  type BoundInstance,
  isCreating,
  isFailedCreate,
  isManaged,
  lockBoundInstance,
  requireBindable,
} from '../../service-bindings/bound-instance.js'
import { lastOperation } from '../../service-bindings/last-operation.js'
import { ROUTE_BINDING_PARTS, type RouteBindingParts } from './binding-parts.js'
import { recordRouteBindingEvent } from './route-binding-events.js'

export interface NewRouteBinding {
  readonly routeGuid: string
  readonly serviceInstanceGuid: string
  readonly parameters?: Readonly<Record<string, unknown>> | null | undefined
  readonly metadata?: MetadataInput | undefined
}

/** Puts a service instance in front of a route. Without a job it is done, and the routers are to be told. */
export async function createRouteBinding(
  tx: Transaction,
  { operations }: Pick<Context, 'operations'>,
  actor: JobActor,
  wanted: NewRouteBinding,
): Promise<{ binding: RouteBindingParts; jobGuid: string | undefined }> {
  await tx.$executeRaw`SELECT 1 FROM routes WHERE guid = ${wanted.routeGuid} FOR NO KEY UPDATE`
  const route = await tx.route.findUnique({ where: { guid: wanted.routeGuid }, include: { domain: true } })
  if (!route) throw notFound('Route')
  const instance = await lockBoundInstance(tx, wanted.serviceInstanceGuid)
  if (instance.spaceGuid !== route.spaceGuid) throw unprocessable('The service instance and the route are in different spaces')
  if (route.domain.internal) throw unprocessable('Route services cannot be bound to internal routes')
  if (route.protocol === 'tcp') throw unprocessable('Route services can only be bound to HTTP routes.')
  requireRouteService(instance)
  if (isManaged(instance)) await requireBindable(tx, instance)
  else if (wanted.parameters && Object.keys(wanted.parameters).length > 0)
    throw unprocessable('Binding parameters are not supported for user-provided service instances')
  await requireFree(tx, wanted)
  const now = new Date()
  const isAsked = isManaged(instance)
  const binding = await tx.routeBinding.create({
    data: {
      guid: randomUUID(),
      routeGuid: route.guid,
      serviceInstanceGuid: instance.guid,
      lastOperation: isAsked
        ? lastOperation('create', 'initial', '', now)
        : lastOperation('create', 'succeeded', 'Operation succeeded', now),
      ...applyMetadata(undefined, wanted.metadata),
    },
    include: ROUTE_BINDING_PARTS,
  })
  if (!isAsked) {
    await recordRouteBindingEvent(tx, actor, binding, 'create')
    return { binding, jobGuid: undefined }
  }
  const { jobGuid } = await operations.enqueue(tx, {
    resourceType: 'route_binding',
    resourceGuid: binding.guid,
    serviceInstanceGuid: instance.guid,
    type: 'create',
    brokerGuid: instance.plan.offering.brokerGuid,
    params: { parameters: wanted.parameters ?? undefined },
    actor,
    job: { operation: 'service_route_bindings.create', resourceType: 'service_route_bindings' },
  })
  return { binding, jobGuid }
}

function requireRouteService(instance: BoundInstance): void {
  const isOne = isManaged(instance)
    ? instance.plan.offering.requires.includes('route_forwarding')
    : (instance.routeServiceUrl ?? '') !== ''
  if (!isOne) throw unprocessable('This service instance does not support route binding')
}

/** One route has one service in front. One that could not be made stands in nobody's way. */
async function requireFree(tx: Transaction, { routeGuid, serviceInstanceGuid }: NewRouteBinding): Promise<void> {
  const present = await tx.routeBinding.findUnique({ where: { routeGuid } })
  if (!present) return
  if (isFailedCreate(present.lastOperation)) {
    await tx.routeBinding.delete({ where: { guid: present.guid } })
    return
  }
  if (isCreating(present.lastOperation)) throw unprocessable('There is an operation in progress for the service binding.')
  throw present.serviceInstanceGuid === serviceInstanceGuid
    ? new CfError('ServiceInstanceAlreadyBoundToSameRoute', 'The route and service instance are already bound.')
    : unprocessable('A route may only be bound to a single service instance')
}
