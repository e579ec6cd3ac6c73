import type { FastifyInstance, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { parseBody } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { unprocessable } from '../../http/errors.js'
import { parseListQuery, type ListQuery } from '../../http/lists.js'
import { actorOf } from '../../jobs/routes.js'
import { addDestinations, refuseProtocol, removeDestination, replaceDestinations, type NewDestination } from './destinations.js'
import { findMappableRoute, findRoute, requireMappable } from './find-route.js'
import { presentDestination, presentDestinations, ROUTE_PARTS, type RouteWithDomain } from './presenter.js'
import { recordAudit } from '../../http/audit.js'

const PROTOCOLS = ['http1', 'http2', 'tcp'] as const
const PROTOCOL_FAULT = "protocol must be 'http1', 'http2' or 'tcp'."
const Protocol = z.enum(PROTOCOLS, PROTOCOL_FAULT)
const Destination = z.strictObject(
  {
    app: z.strictObject(
      {
        guid: z.string('app must have the structure {"guid": "app_guid"}').min(1).max(200),
        process: z
          .strictObject({ type: z.string().min(1) }, 'process must have the structure {"type": "process_type"}')
          .nullish(),
      },
      'app must have the structure {"guid": "app_guid"}',
    ),
    weight: z.number().int().min(1).max(100, 'weight must be a positive integer between 1 and 100.').nullish(),
    port: z
      .number('port must be a positive integer between 1024 and 65535 inclusive.')
      .int()
      .min(1024, 'port must be a positive integer between 1024 and 65535 inclusive.')
      .max(65_535, 'port must be a positive integer between 1024 and 65535 inclusive.')
      .nullish(),
    protocol: Protocol.nullish(),
  },
  'must be an object.',
)
// `destinations` has to be there: the client sends {"protocol": …} to this address by mistake, which must not empty the route.
const destinationsBody = (minimum: number) =>
  z.strictObject({
    destinations: z
      .array(Destination, `must be an array containing between ${minimum} and 100 destination objects.`)
      .min(minimum, `must be an array containing between ${minimum} and 100 destination objects.`)
      .max(100, `must be an array containing between ${minimum} and 100 destination objects.`),
  })
const InsertDestinations = destinationsBody(1)
const ReplaceDestinations = destinationsBody(0)
const UpdateDestination = z.strictObject({
  protocol: z.enum(PROTOCOLS, `Destination ${PROTOCOL_FAULT}`).nullable(),
})
interface ByGuid {
  Params: { guid: string }
}
interface ByDestination {
  Params: { guid: string; destination: string }
}

/** Which apps a route leads to. */
export function destinationRoutes(app: FastifyInstance, context: Context): void {
  const { db, nudges } = context
  const present = async (guid: string, baseUrl: string) =>
    presentDestinations(await db.route.findUniqueOrThrow({ where: { guid }, include: ROUTE_PARTS }), baseUrl)

  app.get<ByGuid>('/v3/routes/:guid/destinations', { config: { permission: 'space.read' } }, async (request) =>
    presentDestinations(
      filtered(
        await findRoute(db, request, request.params.guid, 'space.read'),
        parseListQuery(request, { filters: ['app_guids'], labels: false }),
      ),
      request.baseUrl,
    ),
  )

  app.post<ByGuid>('/v3/routes/:guid/destinations', { config: { permission: 'space.operate' } }, async (request) => {
    const route = await findMappableRoute(db, request, request.params.guid)
    const { destinations } = parseBody(InsertDestinations, request.body)
    if (destinations.some(({ weight }) => weight != null))
      throw unprocessable('Destinations[0]: weighted destinations can only be used when replacing all destinations.')
    await requireMappable(db, request, route, await refuseHiddenApps(request, destinations))
    await db.$transaction((tx) => addDestinations(tx, actorOf(request), route, destinations.map(toNew)))
    nudges.send({ topic: 'scheduler' })
    return present(route.guid, request.baseUrl)
  })

  app.patch<ByGuid>('/v3/routes/:guid/destinations', { config: { permission: 'space.operate' } }, async (request) => {
    const route = await findRoute(db, request, request.params.guid, 'space.operate')
    const { destinations } = parseBody(ReplaceDestinations, request.body)
    refuseUnevenWeights(destinations.map(({ weight }) => weight ?? null))
    await refuseHiddenApps(request, destinations)
    await db.$transaction((tx) => replaceDestinations(tx, actorOf(request), route, destinations.map(toNew)))
    nudges.send({ topic: 'scheduler' })
    return present(route.guid, request.baseUrl)
  })

  app.patch<ByDestination>(
    '/v3/routes/:guid/destinations/:destination',
    { config: { permission: 'space.operate' } },
    async (request) => {
      const route = await findRoute(db, request, request.params.guid, 'space.operate')
      const { protocol } = parseBody(UpdateDestination, request.body)
      const destination = route.destinations.find(({ guid }) => guid === request.params.destination)
      if (!destination) throw noSuchDestination()
      refuseProtocol(route, protocol)
      const updated = await db.$transaction(async (tx) => {
        await recordAudit(tx, actorOf(request), {
          type: 'audit.route.update',
          target: { type: 'route', guid: route.guid, name: route.host },
          spaceGuid: route.spaceGuid,
          organizationGuid: route.space.organizationGuid,
          data: { request: { destination_guid: destination.guid, protocol } },
        })
        return tx.routeDestination.update({
          where: { guid: destination.guid },
          data: { protocol },
          include: { app: { select: { lifecycleType: true, spaceGuid: true } } },
        })
      })
      nudges.send({ topic: 'scheduler' })
      const self = `${request.baseUrl}/v3/routes/${route.guid}`
      return {
        ...presentDestination(route, updated),
        links: { destinations: { href: `${self}/destinations` }, route: { href: self } },
      }
    },
  )

  app.delete<ByDestination>(
    '/v3/routes/:guid/destinations/:destination',
    { config: { permission: 'space.operate' } },
    async (request, reply) => {
      const route = await findMappableRoute(db, request, request.params.guid)
      const destination = route.destinations.find(({ guid }) => guid === request.params.destination)
      if (!destination) throw noSuchDestination()
      await requireMappable(db, request, route, [destination.app.spaceGuid])
      if (destination.weight !== null) throw unprocessable('Weighted destinations cannot be deleted individually.')
      await db.$transaction((tx) => removeDestination(tx, actorOf(request), route, destination))
      nudges.send({ topic: 'scheduler' })
      return reply.code(204).send()
    },
  )

  /** Answers with the apps' spaces. */
  async function refuseHiddenApps(
    request: FastifyRequest,
    destinations: readonly z.infer<typeof Destination>[],
  ): Promise<string[]> {
    const guids = [...new Set(destinations.map((each) => each.app.guid))]
    const visible = await db.app.findMany({
      where: { guid: { in: guids }, space: request.access.spaces() },
      select: { guid: true, spaceGuid: true },
    })
    const hidden = guids.filter((guid) => !visible.some((each) => each.guid === guid))
    if (hidden.length > 0)
      throw unprocessable(`App(s) with guid(s) "${hidden.join('", "')}" do not exist or you do not have access.`)
    return [...new Set(visible.map(({ spaceGuid }) => spaceGuid))]
  }
}

function filtered(route: RouteWithDomain, query: ListQuery): RouteWithDomain {
  const [guids, apps] = [query.values('guids'), query.values('app_guids')]
  return {
    ...route,
    destinations: route.destinations.filter(
      ({ guid, appGuid }) => (!guids || guids.includes(guid)) && (!apps || apps.includes(appGuid)),
    ),
  }
}

const noSuchDestination = () =>
  unprocessable('Unable to unmap route from destination. Ensure the route has a destination with this guid.')

const toNew = ({ app, port, weight, protocol }: z.infer<typeof Destination>): NewDestination => ({
  appGuid: app.guid,
  processType: app.process?.type,
  port,
  weight,
  protocol,
})

function refuseUnevenWeights(weights: readonly (number | null)[]): void {
  const given = weights.filter((weight) => weight !== null)
  if (given.length === 0) return
  if (given.length < weights.length) throw unprocessable('Destinations cannot contain both weighted and unweighted destinations.')
  if (given.reduce((sum, weight) => sum + weight, 0) !== 100)
    throw unprocessable('Destinations must have weights that sum to 100.')
}
