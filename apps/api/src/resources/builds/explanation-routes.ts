import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import type { SpaceRight } from '../../http/permissions.js'
import { IN_SPACE } from '../apps/find-app.js'
import { presentExplanation } from './explanation.js'

const PATH = '/bloomery/v1/builds/:guid'
interface ByGuid {
  Params: { guid: string }
}

/** What Cloud Foundry's API has no word for: why a build went as it did, and that it shall end. */
export function buildExplanationRoutes(app: FastifyInstance, { db, nudges }: Context): void {
  const find = async (request: FastifyRequest, right: SpaceRight) => {
    const { guid } = request.params as ByGuid['Params']
    const build = await db.build.findUnique({ where: { guid }, include: { app: { include: IN_SPACE } } })
    if (!build) throw notFound('Build')
    await request.access.requireInSpace(right, build.app.space, 'Build not found')
    return build
  }

  app.get<ByGuid>(`${PATH}/explanation`, { config: { permission: 'space.read' } }, async (request) => {
    const build = await find(request, 'space.read')
    const [droplet, decisions] = await Promise.all([
      build.dropletGuid === null
        ? null
        : db.droplet.findUnique({ where: { guid: build.dropletGuid }, include: { _count: { select: { components: true } } } }),
      db.decisionRecord.findMany({ where: { subjectGuid: build.guid }, orderBy: { createdAt: 'asc' }, take: 100 }),
    ])
    return presentExplanation(build, droplet, decisions)
  })

  app.post<ByGuid>(`${PATH}/actions/cancel`, { config: { permission: 'space.develop' } }, async (request, reply) => {
    const build = await find(request, 'space.develop')
    const { count } = await db.build.updateMany({
      where: { guid: build.guid, state: 'STAGING' },
      data: { cancelRequested: true },
    })
    if (count === 0) throw unprocessable(`The build has ended already: it is ${build.state}.`)
    nudges.send({ topic: 'stager' })
    return reply.code(202).send({ guid: build.guid, cancelling: true })
  })
}
