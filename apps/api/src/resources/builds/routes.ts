import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Build, Prisma } from '@bloomery/database'
import { z } from 'zod'
import { Integer, parseBody } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { parseListQuery, presentList, readPage } from '../../http/lists.js'
import { applyMetadata, MetadataInput } from '../../http/metadata.js'
import type { SpaceRight } from '../../http/permissions.js'
import { actorOf } from '../../jobs/routes.js'
import { findApp, IN_SPACE } from '../apps/find-app.js'
import { LifecycleInput } from '../apps/lifecycle.js'
import { createBuild } from './create-build.js'
import { presentBuild } from './presenter.js'

const Megabytes = Integer.pipe(z.number().min(1, 'must be greater than 0').max(1_000_000)).nullish()
const CreateBuild = z.strictObject({
  package: z.object({ guid: z.string() }),
  lifecycle: LifecycleInput.nullish(),
  staging_memory_in_mb: Megabytes,
  staging_disk_in_mb: Megabytes,
  staging_log_rate_limit_bytes_per_second: Integer.nullish(),
  metadata: MetadataInput.optional(),
})
const UpdateBuild = z.strictObject({ metadata: MetadataInput.optional() })
interface ByGuid {
  Params: { guid: string }
}

export function buildRoutes(app: FastifyInstance, context: Context): void {
  const { db } = context
  const find = async (request: FastifyRequest, right: SpaceRight): Promise<Build> => {
    const { guid } = request.params as ByGuid['Params']
    const build = await db.build.findUnique({ where: { guid }, include: { app: { include: IN_SPACE } } })
    if (!build) throw notFound('Build')
    await request.access.requireInSpace(right, build.app.space, 'Build not found')
    return build
  }
  const list = async (request: FastifyRequest, own: Prisma.BuildWhereInput) => {
    const query = parseListQuery(request, { filters: ['app_guids', 'package_guids', 'states'] })
    const [appGuids, packageGuids, states] = ['app_guids', 'package_guids', 'states'].map(query.values)
    const where: Prisma.BuildWhereInput = {
      AND: [
        { app: { space: request.access.spaces() } },
        own,
        ...query.common,
        ...(appGuids ? [{ appGuid: { in: appGuids } }] : []),
        ...(packageGuids ? [{ packageGuid: { in: packageGuids } }] : []),
        ...(states ? [{ state: { in: states } }] : []),
      ],
    }
    const page = await readPage(
      query,
      (window) => db.build.findMany({ where, orderBy: query.orderBy, ...window }),
      () => db.build.count({ where }),
    )
    return presentList(request, query, page, (build) => presentBuild(build, request.baseUrl))
  }

  app.get('/v3/builds', { config: { permission: 'authenticated' } }, async (request) => list(request, {}))
  app.get<ByGuid>('/v3/apps/:guid/builds', { config: { permission: 'space.read' } }, async (request) => {
    const found = await findApp(db, request, request.params.guid, 'space.read')
    return list(request, { appGuid: found.guid })
  })

  app.get<ByGuid>('/v3/builds/:guid', { config: { permission: 'space.read' } }, async (request) => {
    const { guid } = await find(request, 'space.read')
    const build = await context.changes.readWhenSettled(
      'build',
      guid,
      () => db.build.findUnique({ where: { guid } }),
      (each) => each?.state !== 'STAGING',
    )
    if (!build) throw notFound('Build')
    if (build.state !== 'STAGING') await delay(context.tails.millisecondsUntilShown(build.appGuid, build.updatedAt.getTime()))
    return presentBuild(build, request.baseUrl)
  })

  app.post('/v3/builds', { config: { permission: 'space.develop' } }, async (request, reply) => {
    const input = parseBody(CreateBuild, request.body)
    const found = await db.package.findUnique({ where: { guid: input.package.guid }, include: { app: { include: IN_SPACE } } })
    if (!found || !(await request.access.hasInSpace('space.read', found.app.space)))
      throw unprocessable('Unable to use package. Ensure that the package exists and you have access to it.')
    await request.access.requireInSpace('space.develop', found.app.space, 'Package not found')
    const build = await createBuild(context, actorOf(request), found, {
      lifecycle: input.lifecycle ?? undefined,
      stagingMemoryMb: input.staging_memory_in_mb ?? undefined,
      stagingDiskMb: input.staging_disk_in_mb ?? undefined,
      metadata: input.metadata,
    })
    return reply.code(201).send(presentBuild(build, request.baseUrl))
  })

  app.patch<ByGuid>('/v3/builds/:guid', { config: { permission: 'space.develop' } }, async (request) => {
    const build = await find(request, 'space.develop')
    const input = parseBody(UpdateBuild, request.body)
    const updated = await db.build.update({ where: { guid: build.guid }, data: applyMetadata(build, input.metadata) })
    return presentBuild(updated, request.baseUrl)
  })
}
