import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { CfError } from '@bloomery/contracts'
import { isUniqueViolation, Prisma } from '@bloomery/database'
import { parseBody } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { requireFeature } from '../../http/feature-flags.js'
import { parseListQuery } from '../../http/lists.js'
import { applyMetadata } from '../../http/metadata.js'
import { notAuthorized } from '../../http/permissions.js'
import { actorOf } from '../../jobs/routes.js'
import { Credentials, instanceCredentialsContext } from '../../runs/environment-sources.js'
import { deleteServiceInstance } from './delete-service-instance.js'
import { findServiceInstance, lockServiceInstance } from './find-service-instance.js'
import { INSTANCE_FIELDS, includedFields } from './included-fields.js'
import { AnyInstance, CreateUserProvided, UpdateUserProvided } from './inputs.js'
import { recordInstanceEvent } from './instance-events.js'
import { listServiceInstances } from './list-service-instances.js'
import { presentServiceInstance, succeeded } from './presenter.js'
import { sharingRoutes } from './sharing-routes.js'

interface ByGuid {
  Params: { guid: string }
}
const PATH = '/v3/service_instances/:guid'

/** Services that apps are bound to. Those of a broker come with the brokers; user-provided ones are all here. */
export function serviceInstanceRoutes(app: FastifyInstance, context: Context): void {
  const { db, keyring } = context
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

  app.get<ByGuid>(`${PATH}/parameters`, { config: { permission: 'space.read' } }, async (request) => {
    await findServiceInstance(db, request, request.params.guid, 'space.read')
    throw new CfError('BadRequest', 'This service does not support fetching service instance parameters.')
  })

  app.get<ByGuid>(`${PATH}/permissions`, { config: { permission: 'authenticated' } }, async (request) => {
    const instance = await db.serviceInstance.findUnique({ where: { guid: request.params.guid }, include: { space: true } })
    if (!instance) throw notFound('Service instance')
    const [read, manage] = await Promise.all([
      request.access.hasInSpace('space.read', instance.space),
      request.access.hasInSpace('space.develop', instance.space),
    ])
    return { read, manage }
  })

  app.post('/v3/service_instances', { config: { permission: 'space.develop' } }, async (request, reply) => {
    if (!request.access.isAdmin) await requireFeature(db, 'service_instance_creation')
    if (parseBody(AnyInstance, request.body).type === 'managed')
      throw unprocessable('Invalid service plan. Ensure that the service plan exists, is available, and you have access to it.')
    return createUserProvided(request, reply)
  })

  const createUserProvided = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const input = parseBody(CreateUserProvided, request.body)
    const space = await db.space.findUnique({
      where: { guid: input.relationships.space.data.guid },
      include: { organization: true },
    })
    if (!space || !(await request.access.hasInSpace('space.read', space)))
      throw unprocessable('Invalid space. Ensure that the space exists and you have access to it.')
    await request.access.requireInSpace('space.develop', space, 'Space not found')
    const guid = randomUUID()
    try {
      const instance = await db.$transaction(async (tx) => {
        const created = await tx.serviceInstance.create({
          data: {
            guid,
            name: input.name,
            type: 'user-provided',
            spaceGuid: space.guid,
            tags: input.tags ?? [],
            syslogDrainUrl: input.syslog_drain_url || null,
            routeServiceUrl: input.route_service_url || null,
            ...(input.credentials
              ? { credentialsEncrypted: { ...keyring.encryptJson(input.credentials, instanceCredentialsContext(guid)) } }
              : {}),
            lastOperation: { ...succeeded('create', context.now()) },
            ...applyMetadata(undefined, input.metadata),
          },
        })
        await recordInstanceEvent(tx, actorOf(request), { ...created, space }, 'create', requestOf(input))
        return created
      })
      return await reply.code(201).send(presentServiceInstance(instance, request.baseUrl))
    } catch (error) {
      throw nameTaken(error, input.name)
    }
  }

  app.patch<ByGuid>(PATH, { config: { permission: 'space.develop' } }, async (request) => {
    const { guid } = await findServiceInstance(db, request, request.params.guid, 'space.develop')
    const input = parseBody(UpdateUserProvided, request.body)
    try {
      const updated = await db.$transaction(async (tx) => {
        const present = await lockServiceInstance(tx, guid)
        await recordInstanceEvent(
          tx,
          actorOf(request),
          { ...present, name: input.name ?? present.name },
          'update',
          requestOf(input),
        )
        return tx.serviceInstance.update({
          where: { guid },
          data: {
            ...(input.name === undefined ? {} : { name: input.name }),
            ...(input.tags == null ? {} : { tags: input.tags }),
            ...(input.syslog_drain_url === undefined ? {} : { syslogDrainUrl: input.syslog_drain_url || null }),
            ...(input.route_service_url === undefined ? {} : { routeServiceUrl: input.route_service_url || null }),
            ...credentialsAfter(guid, input),
            // Metadata alone is no operation on the service.
            ...(Object.keys(input).some((key) => key !== 'metadata')
              ? { lastOperation: { ...succeeded('update', context.now()) } }
              : {}),
            ...applyMetadata(present, input.metadata),
          },
        })
      })
      return presentServiceInstance(updated, request.baseUrl)
    } catch (error) {
      throw nameTaken(error, input.name ?? '')
    }
  })

  /** Given credentials replace those that were; an absent key leaves them. */
  const credentialsAfter = (guid: string, { credentials }: UpdateUserProvided) => {
    if (credentials === undefined) return {}
    if (credentials === null || Object.keys(credentials).length === 0) return { credentialsEncrypted: Prisma.DbNull }
    return { credentialsEncrypted: { ...keyring.encryptJson(credentials, instanceCredentialsContext(guid)) } }
  }

  app.delete<ByGuid>(PATH, { config: { permission: 'space.develop' } }, async (request, reply) => {
    const instance = await findServiceInstance(db, request, request.params.guid, 'space.develop')
    const { purge } = request.query as { purge?: string }
    // Forgetting a broker's instance without asking the broker is for operators.
    if (purge === 'true' && instance.type === 'managed' && !request.access.isAdmin) throw notAuthorized()
    await db.$transaction((tx) => deleteServiceInstance(tx, actorOf(request), instance.guid))
    return reply.code(204).send()
  })
}

/** What the event tells of the request: never the credentials. */
const requestOf = (input: Partial<UpdateUserProvided>): Prisma.InputJsonObject => ({
  ...(input.name === undefined ? {} : { name: input.name }),
  ...(input.tags == null ? {} : { tags: input.tags }),
  ...(input.credentials === undefined ? {} : { credentials: '[PRIVATE DATA HIDDEN]' }),
  // Addresses may carry a password.
  ...(input.syslog_drain_url === undefined ? {} : { syslog_drain_url: '[PRIVATE DATA HIDDEN]' }),
  ...(input.route_service_url === undefined ? {} : { route_service_url: '[PRIVATE DATA HIDDEN]' }),
})

const nameTaken = (error: unknown, name: string): unknown =>
  isUniqueViolation(error) ? unprocessable(`The service instance name is taken: ${name}.`) : error
