import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { CfError } from '@bloomery/contracts'
import { isUniqueViolation, type RouterGroup } from '@bloomery/database'
import { coversPorts, includesPort, parsePortRanges } from '@bloomery/domain'
import { z } from 'zod'
import { recordAudit } from '../../http/audit.js'
import { parseBody } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { actorOf } from '../../jobs/routes.js'

const Ports = z.string('must be a string of ranges and ports').max(2000)
const NewGroup = z.strictObject({
  name: z.string('must be a string').min(1, "can't be blank").max(250),
  type: z.enum(['tcp', 'http'], "must be 'tcp' or 'http'"),
  reservable_ports: Ports.optional(),
})
const ChangedGroup = z.strictObject({ reservable_ports: Ports })
interface ByGuid {
  Params: { guid: string }
}
const PATH = '/routing/v1/router_groups'

/** The part of the routing API that clients use; its answers and errors have a form of their own. */
export function routerGroupRoutes(app: FastifyInstance, context: Context): void {
  const { db } = context
  void app.register(async (routing) => {
    routing.setErrorHandler(async (error: unknown, _request, reply) => answerInItsForm(error, reply, context))

    routing.get(PATH, { config: { permission: 'authenticated' } }, async (request) => {
      const { name } = request.query as { name?: string }
      const groups = await db.routerGroup.findMany({ where: name === undefined ? {} : { name }, orderBy: { name: 'asc' } })
      return groups.map(presentRouterGroup)
    })

    routing.get<ByGuid>(`${PATH}/:guid`, { config: { permission: 'authenticated' } }, async (request) =>
      presentRouterGroup(await find(request.params.guid)),
    )

    routing.post(PATH, { config: { permission: 'admin' } }, async (request, reply) => {
      const { name, type, reservable_ports: ports = '' } = parseBody(NewGroup, request.body)
      refusePorts(context, type, ports)
      const group = await db.$transaction(async (tx) => {
        const created = await tx.routerGroup
          .create({ data: { guid: randomUUID(), name, type, reservablePorts: ports } })
          .catch((error: unknown) => {
            throw isUniqueViolation(error)
              ? unprocessable(`There is a router group named '${name}' already; choose another name.`)
              : error
          })
        await recordAudit(tx, actorOf(request), {
          type: 'audit.router_group.create',
          target: { type: 'router_group', guid: created.guid, name },
          data: { request: { name, type, reservable_ports: ports } },
        })
        return created
      })
      return reply.code(201).send(presentRouterGroup(group))
    })

    routing.put<ByGuid>(`${PATH}/:guid`, { config: { permission: 'admin' } }, async (request) => {
      const group = await find(request.params.guid)
      const { reservable_ports: ports } = parseBody(ChangedGroup, request.body)
      refusePorts(context, group.type, ports)
      return db.$transaction(async (tx) => {
        await tx.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended(${`bloomery:router-group:${group.guid}`}, 0))`
        const ranges = parsePortRanges(ports) ?? []
        const used = await tx.route.findMany({
          where: { port: { gt: 0 }, domain: { routerGroupGuid: group.guid } },
          select: { port: true },
        })
        const lost = used.find(({ port }) => !includesPort(ranges, port))
        if (lost)
          throw unprocessable(
            `Port ${lost.port} of router group '${group.name}' has a route; keep it among the reservable ports, or delete the route first.`,
          )
        await recordAudit(tx, actorOf(request), {
          type: 'audit.router_group.update',
          target: { type: 'router_group', guid: group.guid, name: group.name },
          data: { request: { reservable_ports: ports } },
        })
        return presentRouterGroup(await tx.routerGroup.update({ where: { guid: group.guid }, data: { reservablePorts: ports } }))
      })
    })

    routing.delete<ByGuid>(`${PATH}/:guid`, { config: { permission: 'admin' } }, async (request, reply) => {
      const group = await find(request.params.guid)
      await db.$transaction(async (tx) => {
        await tx.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended('bloomery:domains', 0))`
        const domain = await tx.domain.findFirst({ where: { routerGroupGuid: group.guid } })
        if (domain)
          throw unprocessable(`The domain '${domain.name}' belongs to router group '${group.name}'; delete that domain first.`)
        await tx.routerGroup.deleteMany({ where: { guid: group.guid } })
        await recordAudit(tx, actorOf(request), {
          type: 'audit.router_group.delete',
          target: { type: 'router_group', guid: group.guid, name: group.name },
        })
      })
      return reply.code(204).send()
    })
  })

  async function find(guid: string): Promise<RouterGroup> {
    const group = await db.routerGroup.findUnique({ where: { guid } })
    if (!group) throw notFound('Router group')
    return group
  }
}

const presentRouterGroup = ({ guid, name, type, reservablePorts }: RouterGroup) => ({
  guid,
  name,
  type,
  ...(type === 'tcp' ? { reservable_ports: reservablePorts } : {}),
})

/** Only ports that routers hold can ever be served. */
function refusePorts({ settings }: Context, type: string, ports: string): void {
  const ranges = parsePortRanges(ports)
  if (!ranges)
    throw unprocessable(
      `reservable_ports '${ports}' is no list of ports; give ranges and ports from 1024 to 65535 that do not overlap, e.g. "20000-20009,20020".`,
    )
  if (type === 'http' && ranges.length > 0) throw unprocessable("Router groups of type 'http' have no reservable ports.")
  if (!coversPorts(settings.tcpPorts, ranges))
    throw unprocessable(
      `Routers listen on ${settings.tcpPorts.map(({ first, last }) => `${first}-${last}`).join(',') || 'no ports'} for TCP routes; choose among these, or set BLOOMERY_TCP_PORTS and start the platform again.`,
    )
}

const NAMES: Readonly<Record<number, string>> = {
  401: 'UnauthorizedError',
  403: 'UnauthorizedError',
  404: 'ResourceNotFoundError',
  422: 'ProcessRequestError',
}

function answerInItsForm(error: unknown, reply: FastifyReply, { log }: Context): FastifyReply {
  if (!(error instanceof CfError)) {
    log.error({ err: error }, 'a request to the routing API failed')
    return reply.code(500).send({ name: 'DBCommunicationError', message: 'The request could not be carried out; try again.' })
  }
  // The client renews its token on exactly this text.
  const message = error.kind === 'InvalidAuthToken' ? 'Token is expired' : error.message
  const status = error.status === 422 ? 400 : error.status
  return reply.code(status).send({ name: NAMES[error.status] ?? 'ProcessRequestError', message })
}
