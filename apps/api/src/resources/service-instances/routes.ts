import type { FastifyInstance } from 'fastify'
import { CfError } from '@bloomery/contracts'
import { isUniqueViolation } from '@bloomery/database'
import { parseBody } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { requireFeature } from '../../http/feature-flags.js'
import { parseListQuery } from '../../http/lists.js'
import { notAuthorized } from '../../http/permissions.js'
import { actorOf } from '../../jobs/routes.js'
import { Credentials, instanceCredentialsContext } from '../../runs/environment-sources.js'
import { isManaged } from '../../service-bindings/bound-instance.js'
import { acceptOperation, requireIdle } from '../../service-operations/accept-operation.js'
import { createInstanceHandler } from './create-handler.js'
import { createManaged } from './create-managed.js'
import { deleteInstanceHandler } from './delete-handler.js'
import { deleteServiceInstance } from './delete-service-instance.js'
import { fetchParameters } from './fetch-parameters.js'
import { findServiceInstance, isSharedWithCaller, lockServiceInstance } from './find-service-instance.js'
import { INSTANCE_FIELDS, includedFields } from './included-fields.js'
import { AnyInstance, CreateManaged, CreateUserProvided, UpdateManaged, UpdateUserProvided } from './inputs.js'
import { isBeingCreated, lastOperation } from './last-operation.js'
import { listServiceInstances } from './list-service-instances.js'
import { presentServiceInstance } from './presenter.js'
import { purgeServiceInstance } from './purge-service-instance.js'
import { sharingRoutes } from './sharing-routes.js'
import { updateInstanceHandler } from './update-handler.js'
import { updateManaged } from './update-managed.js'
import { createUserProvided, updateUserProvided } from './user-provided.js'

interface ByGuid {
  Params: { guid: string }
}
const PATH = '/v3/service_instances/:guid'

/** Services that apps are bound to: made by brokers, or told of by users. */
export function serviceInstanceRoutes(app: FastifyInstance, context: Context): void {
  const { db, keyring, operations } = context
  operations.register('instance', 'create', createInstanceHandler(context))
  operations.register('instance', 'update', updateInstanceHandler(context))
  operations.register('instance', 'delete', deleteInstanceHandler(context))
  sharingRoutes(app, context)

  app.get('/v3/service_instances', { config: { permission: 'authenticated' } }, (request) => listServiceInstances(db, request))

  app.get<ByGuid>(PATH, { config: { permission: 'space.read' } }, async (request) => {
    const query = parseListQuery(request, { fields: INSTANCE_FIELDS, labels: false })
    const instance = await findServiceInstance(db, request, request.params.guid, 'space.read')
    const included = includedFields(query, [instance])
    return { ...presentServiceInstance(instance, request.baseUrl), ...(included ? { included } : {}) }
  })

  app.get<ByGuid>(`${PATH}/credentials`, { config: { permission: 'space.read_secrets' } }, async (request) => {
    const instance = await findServiceInstance(db, request, request.params.guid, 'space.read_secrets')
    if (instance.type !== 'user-provided') throw notFound('Service instance')
    return instance.credentialsEncrypted === null
      ? {}
      : keyring.decryptJson(instance.credentialsEncrypted, instanceCredentialsContext(instance.guid), Credentials)
  })

  app.get<ByGuid>(`${PATH}/parameters`, { config: { permission: 'space.read' } }, async (request, reply) => {
    const instance = await findServiceInstance(db, request, request.params.guid, 'space.read')
    // Who sees it through a sharing alone does not see how it was made.
    await request.access.requireInSpace('space.read', instance.space, 'Service instance not found')
    return fetchParameters(context, request, reply, instance)
  })

  app.get<ByGuid>(`${PATH}/permissions`, { config: { permission: 'service.permissions' } }, async (request) => {
    const instance = await db.serviceInstance.findUnique({
      where: { guid: request.params.guid },
      include: { space: { include: { organization: true } } },
    })
    if (!instance) throw notFound('Service instance')
    const [read, manage, shared] = await Promise.all([
      request.access.hasInSpace('space.read', instance.space),
      request.access.hasInSpace('space.develop', instance.space),
      isSharedWithCaller(db, request, instance.guid),
    ])
    const suspended = instance.space.organization.suspended && !request.access.isAdmin
    return { read: read || shared, manage: manage && !suspended }
  })

  app.post('/v3/service_instances', { config: { permission: 'space.develop' } }, async (request, reply) => {
    if (!request.access.isAdmin) await requireFeature(db, 'service_instance_creation')
    const { type } = parseBody(AnyInstance, request.body)
    const input = type === 'managed' ? parseBody(CreateManaged, request.body) : parseBody(CreateUserProvided, request.body)
    const space = await db.space.findUnique({
      where: { guid: input.relationships.space.data.guid },
      include: { organization: true },
    })
    if (!space || !(await request.access.hasInSpace('space.read', space)))
      throw unprocessable('Invalid space. Ensure that the space exists and you have access to it.')
    await request.access.requireInSpace('space.develop', space, 'Space not found')
    try {
      return input.type === 'managed'
        ? await createManaged(context, request, reply, input, space)
        : await createUserProvided(context, request, reply, input, space)
    } catch (error) {
      throw nameTaken(error, input.name)
    }
  })

  app.patch<ByGuid>(PATH, { config: { permission: 'space.develop' } }, async (request, reply) => {
    const instance = await findServiceInstance(db, request, request.params.guid, 'space.develop')
    const name = (request.body as { name?: unknown } | undefined)?.name
    try {
      return isManaged(instance)
        ? await updateManaged(context, request, reply, instance, parseBody(UpdateManaged, request.body))
        : await updateUserProvided(context, request, instance, parseBody(UpdateUserProvided, request.body))
    } catch (error) {
      throw nameTaken(error, String(name))
    }
  })

  app.delete<ByGuid>(PATH, { config: { permission: 'space.develop' } }, async (request, reply) => {
    const instance = await findServiceInstance(db, request, request.params.guid, 'space.develop')
    const actor = actorOf(request)
    const isPurge = (request.query as { purge?: string }).purge === 'true'
    if (isPurge) {
      // Forgetting a broker's instance without asking the broker is for operators, and for whoever has the broker in a space.
      if (isManaged(instance) && !request.access.isAdmin && instance.plan.offering.broker.spaceGuid === null)
        throw notAuthorized()
      await db.$transaction((tx) => purgeServiceInstance(tx, context, actor, instance.guid))
      return reply.code(204).send()
    }
    if (isManaged(instance))
      return acceptOperation(context, request, reply, async (tx) => {
        const present = await lockServiceInstance(tx, instance.guid)
        await requireIdle(tx, present, 'delete')
        // From now on it is being deleted, whatever became of an earlier try. A creation under way goes on telling of itself until then.
        if (!isBeingCreated(present)) {
          const at = context.now()
          await tx.serviceInstance.update({
            where: { guid: present.guid },
            data: { lastOperation: { ...lastOperation('delete', 'in progress', '', at, at) } },
          })
        }
        return operations.enqueue(tx, {
          resourceType: 'instance',
          resourceGuid: present.guid,
          serviceInstanceGuid: present.guid,
          type: 'delete',
          brokerGuid: present.plan?.offering.brokerGuid ?? null,
          params: {},
          actor,
          job: { operation: 'service_instance.delete', resourceType: 'service_instances' },
        })
      })
    await db.$transaction((tx) => deleteServiceInstance(tx, actor, instance.guid))
    context.nudges.send({ topic: 'scheduler' })
    return reply.code(204).send()
  })
}

const nameTaken = (error: unknown, name: string): unknown =>
  isUniqueViolation(error) && !(error instanceof CfError) ? unprocessable(`The service instance name is taken: ${name}.`) : error
