import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { isUniqueViolation, type Prisma, type ServiceBroker } from '@bloomery/database'
import { parseBody } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { requireFeature } from '../../http/feature-flags.js'
import { parseListQuery, presentList, readPage } from '../../http/lists.js'
import { applyMetadata } from '../../http/metadata.js'
import { accept, actorOf } from '../../jobs/routes.js'
import { brokerPasswordContext } from '../../service-operations/brokers.js'
import type { SpaceInOrganization } from '../spaces/find-space.js'
import {
  DELETE_BROKER,
  registerBrokerJobs,
  requireNoInstances,
  SYNCHRONIZE_BROKER,
  UPDATE_BROKER,
  type UpdateParams,
} from './broker-jobs.js'
import { recordBrokerEvent, requestOf } from './broker-events.js'
import { CreateBroker, UpdateBroker } from './inputs.js'
import { presentServiceBroker } from './presenter.js'

interface ByGuid {
  Params: { guid: string }
}
type BrokerInSpace = ServiceBroker & { space: SpaceInOrganization | null }
const PATH = '/v3/service_brokers/:guid'
const UNDER_WAY = ['SYNCHRONIZING', 'DELETE_IN_PROGRESS']

/** Where services come from: the operator's brokers, and those of single spaces. */
export function serviceBrokerRoutes(app: FastifyInstance, context: Context): void {
  const { db, keyring } = context
  registerBrokerJobs(context)

  app.get('/v3/service_brokers', { config: { permission: 'authenticated' } }, async (request) => {
    const query = parseListQuery(request, { filters: ['names', 'space_guids'], orderBy: { name: 'name' } })
    const names = query.values('names')
    const spaces = query.values('space_guids')
    const where: Prisma.ServiceBrokerWhereInput = {
      AND: [
        request.access.isGlobalReader ? {} : { space: request.access.spaces() },
        ...query.common,
        ...(names ? [{ name: { in: names } }] : []),
        ...(spaces ? [{ spaceGuid: { in: spaces } }] : []),
      ],
    }
    const page = await readPage(
      query,
      (window) => db.serviceBroker.findMany({ where, orderBy: query.orderBy, ...window }),
      () => db.serviceBroker.count({ where }),
    )
    return presentList(request, query, page, (broker) => presentServiceBroker(broker, request.baseUrl))
  })

  app.get<ByGuid>(PATH, { config: { permission: 'space.read' } }, async (request) =>
    presentServiceBroker(await find(request), request.baseUrl),
  )

  app.post('/v3/service_brokers', { config: { permission: 'space.develop' } }, async (request, reply) => {
    const input = parseBody(CreateBroker, request.body)
    const spaceGuid = input.relationships?.space?.data.guid ?? null
    if (spaceGuid === null) request.access.requireAdmin()
    else await requireSpace(request, spaceGuid)
    const guid = randomUUID()
    const { username, password } = input.authentication.credentials
    try {
      return await accept(
        context,
        request,
        reply,
        { operation: SYNCHRONIZE_BROKER, params: { guid }, resourceType: 'service_brokers', resourceGuid: guid },
        async (tx) => {
          const broker = await tx.serviceBroker.create({
            data: {
              guid,
              name: input.name,
              url: input.url,
              username,
              passwordEncrypted: { ...keyring.encrypt(password, brokerPasswordContext(guid)) },
              spaceGuid,
              state: 'SYNCHRONIZING',
              ...applyMetadata(undefined, input.metadata),
            },
          })
          await recordBrokerEvent(tx, actorOf(request), broker, 'create', requestOf(input))
        },
      )
    } catch (error) {
      throw isUniqueViolation(error) ? unprocessable('Name must be unique') : error
    }
  })

  app.patch<ByGuid>(PATH, { config: { permission: 'space.develop' } }, async (request, reply) => {
    const broker = await findWritable(request)
    const { metadata, ...changes } = parseBody(UpdateBroker, request.body)
    if (Object.values(changes).every((value) => value === undefined)) {
      const updated = await db.serviceBroker.update({ where: { guid: broker.guid }, data: applyMetadata(broker, metadata) })
      return presentServiceBroker(updated, request.baseUrl)
    }
    const params: UpdateParams = {
      guid: broker.guid,
      previousState: broker.state,
      name: changes.name,
      url: changes.url,
      credentials: changes.authentication?.credentials,
      metadata,
    }
    const same = changes.name === undefined ? null : await db.serviceBroker.findUnique({ where: { name: changes.name } })
    if (same && same.guid !== broker.guid) throw unprocessable('Name must be unique')
    return accept(
      context,
      request,
      reply,
      { operation: UPDATE_BROKER, params, resourceType: 'service_brokers', resourceGuid: broker.guid },
      async (tx) => {
        const { count } = await tx.serviceBroker.updateMany({
          where: { guid: broker.guid, state: { notIn: UNDER_WAY } },
          data: { state: 'SYNCHRONIZING' },
        })
        if (count === 0) throw unprocessable('Cannot update a broker when other operation is already in progress')
        await recordBrokerEvent(tx, actorOf(request), broker, 'update', requestOf(changes))
      },
    )
  })

  app.delete<ByGuid>(PATH, { config: { permission: 'space.develop' } }, async (request, reply) => {
    const broker = await findWritable(request)
    await requireNoInstances(db, broker)
    return accept(
      context,
      request,
      reply,
      { operation: DELETE_BROKER, params: { guid: broker.guid }, resourceType: 'service_brokers', resourceGuid: broker.guid },
      async (tx) => {
        await tx.serviceBroker.update({ where: { guid: broker.guid }, data: { state: 'DELETE_IN_PROGRESS' } })
      },
    )
  })

  async function requireSpace(request: FastifyRequest, guid: string): Promise<void> {
    await requireFeature(db, 'space_scoped_private_broker_creation')
    const space = await db.space.findUnique({ where: { guid }, include: { organization: true } })
    if (!space || !(await request.access.hasInSpace('space.read', space)))
      throw unprocessable('Invalid space. Ensure that the space exists and you have access to it.')
    await request.access.requireInSpace('space.develop', space, 'Space not found')
  }

  async function find(request: FastifyRequest): Promise<BrokerInSpace> {
    const { guid } = request.params as ByGuid['Params']
    const broker = await db.serviceBroker.findUnique({
      where: { guid },
      include: { space: { include: { organization: true } } },
    })
    const isSeen =
      broker && (broker.space ? await request.access.hasInSpace('space.read', broker.space) : request.access.isGlobalReader)
    if (!isSeen) throw notFound('Service broker')
    return broker
  }

  async function findWritable(request: FastifyRequest): Promise<BrokerInSpace> {
    const broker = await find(request)
    if (broker.space) await request.access.requireInSpace('space.develop', broker.space, 'Service broker not found')
    else request.access.requireAdmin()
    return broker
  }
}
