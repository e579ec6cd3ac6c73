import type { FastifyInstance, FastifyRequest } from 'fastify'
import { CfError } from '@bloomery/contracts'
import { z } from 'zod'
import { parseBody, ToOne } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { parseListQuery } from '../../http/lists.js'
import { applyMetadata, MetadataInput } from '../../http/metadata.js'
import type { SpaceRight } from '../../http/permissions.js'
import { actorOf } from '../../jobs/routes.js'
import { bindingTarget, isManaged, isMade } from '../../service-bindings/bound-instance.js'
import { brokerError } from '../../service-operations/broker-errors.js'
import { isBeingDeleted } from '../service-instances/last-operation.js'
import { ROUTE_BINDING_PARTS, type RouteBindingParts } from './binding-parts.js'
import { createRouteBinding } from './create-route-binding.js'
import { deleteRouteBinding } from './delete-route-binding.js'
import { includedOf, listRouteBindings, ROUTE_BINDING_INCLUDES } from './list-route-bindings.js'
import { presentRouteBinding } from './presenter.js'
import { routeBindHandler } from './route-bind-handler.js'
import { recordRouteBindingEvent } from './route-binding-events.js'
import { routeUnbindHandler } from './route-unbind-handler.js'

const CreateRouteBinding = z.strictObject({
  relationships: z.strictObject({ route: ToOne, service_instance: ToOne }),
  parameters: z.record(z.string(), z.unknown(), 'must be an object').nullish(),
  metadata: MetadataInput.optional(),
})
const UpdateRouteBinding = z.strictObject({ metadata: MetadataInput.optional() })
interface ByGuid {
  Params: { guid: string }
}
const PATH = '/v3/service_route_bindings/:guid'

/** Services that requests of a route pass through. */
export function serviceRouteBindingRoutes(app: FastifyInstance, context: Context): void {
  const { db, nudges, operations } = context
  operations.register('route_binding', 'create', routeBindHandler(context))
  operations.register('route_binding', 'delete', routeUnbindHandler(context))

  const find = async (request: FastifyRequest, right: SpaceRight): Promise<RouteBindingParts> => {
    const { guid } = request.params as ByGuid['Params']
    const binding = await db.routeBinding.findUnique({ where: { guid }, include: ROUTE_BINDING_PARTS })
    if (!binding) throw notFound('Service route binding')
    await request.access.requireInSpace(right, binding.route.space, 'Service route binding not found')
    return binding
  }

  app.get('/v3/service_route_bindings', { config: { permission: 'authenticated' } }, (request) => listRouteBindings(db, request))

  app.get<ByGuid>(PATH, { config: { permission: 'space.read' } }, async (request) => {
    const query = parseListQuery(request, { include: ROUTE_BINDING_INCLUDES, labels: false })
    const binding = await find(request, 'space.read')
    return {
      ...presentRouteBinding(binding, request.baseUrl),
      ...(query.includes.size > 0 ? { included: includedOf(query.includes, [binding], request.baseUrl) } : {}),
    }
  })

  app.get<ByGuid>(`${PATH}/parameters`, { config: { permission: 'space.read_secrets' } }, async (request, reply) => {
    const binding = await find(request, 'space.read_secrets')
    const { serviceInstance: instance } = binding
    if (!isManaged(instance))
      throw new CfError('BadRequest', 'user provided service instances do not support fetching route bindings parameters.')
    if (!instance.plan.offering.bindingsRetrievable)
      throw new CfError('BadRequest', 'this service does not support fetching route bindings parameters.')
    if (!isMade(binding.lastOperation)) throw notFound('Service route binding')
    const target = bindingTarget(instance, binding.guid)
    const client = await context.brokers.of(target.brokerGuid)
    const fetched = await context.brokers.calls.within(request, reply, () =>
      client.fetchBinding(instance.guid, binding.guid, target, { userGuid: request.principal.guid }),
    )
    if (fetched.kind !== 'done') throw brokerError(fetched)
    return fetched.answer.parameters ?? {}
  })

  app.post('/v3/service_route_bindings', { config: { permission: 'space.develop' } }, async (request, reply) => {
    const { relationships, parameters, metadata } = parseBody(CreateRouteBinding, request.body)
    const { service_instance: service, route } = relationships
    await requireDevelop(request, 'service instance', service.data.guid, (where) =>
      db.serviceInstance.findUnique({ where, include: { space: { include: { organization: true } } } }),
    )
    await requireDevelop(request, 'route', route.data.guid, (where) =>
      db.route.findUnique({ where, include: { space: { include: { organization: true } } } }),
    )
    const wanted = { routeGuid: route.data.guid, serviceInstanceGuid: service.data.guid, parameters, metadata }
    const { binding, jobGuid } = await db.$transaction((tx) => createRouteBinding(tx, context, actorOf(request), wanted))
    if (jobGuid === undefined) {
      nudges.send({ topic: 'scheduler' })
      return reply.code(201).send(presentRouteBinding(binding, request.baseUrl))
    }
    operations.kick()
    return reply.code(202).header('location', `${request.baseUrl}/v3/jobs/${jobGuid}`).send({})
  })

  app.patch<ByGuid>(PATH, { config: { permission: 'space.develop' } }, async (request) => {
    const binding = await find(request, 'space.develop')
    if (isBeingDeleted(binding)) throw unprocessable('The service route binding is being deleted')
    const { metadata } = parseBody(UpdateRouteBinding, request.body)
    const updated = await db.$transaction(async (tx) => {
      await recordRouteBindingEvent(tx, actorOf(request), binding, 'update')
      return tx.routeBinding.update({
        where: { guid: binding.guid },
        data: applyMetadata(binding, metadata),
        include: ROUTE_BINDING_PARTS,
      })
    })
    return presentRouteBinding(updated, request.baseUrl)
  })

  app.delete<ByGuid>(PATH, { config: { permission: 'space.develop' } }, async (request, reply) => {
    const binding = await find(request, 'space.develop')
    const { isGone, jobGuid } = await db.$transaction((tx) => deleteRouteBinding(tx, context, actorOf(request), binding))
    if (isGone) {
      nudges.send({ topic: 'scheduler' })
      return reply.code(204).send()
    }
    operations.kick()
    return reply
      .code(202)
      .header('location', `${request.baseUrl}/v3/jobs/${jobGuid ?? ''}`)
      .send({})
  })
}

type InSpace = { space: Parameters<FastifyRequest['access']['requireInSpace']>[1] } | null

/** What a body names must be seen (else 422 in the reference's words) and changeable by the caller. */
async function requireDevelop(
  request: FastifyRequest,
  what: string,
  guid: string,
  read: (where: { guid: string }) => Promise<InSpace>,
): Promise<void> {
  const found = await read({ guid })
  if (!found || !(await request.access.hasInSpace('space.read', found.space)))
    throw unprocessable(`The ${what} could not be found: ${guid}`)
  await request.access.requireInSpace('space.develop', found.space, `${what} not found`)
}
