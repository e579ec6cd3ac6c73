import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Package, Prisma } from '@bloomery/database'
import { z } from 'zod'
import { parseBody, ToOne } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { isFeatureEnabled, requireFeature } from '../../http/feature-flags.js'
import { parseListQuery, presentList, readPage } from '../../http/lists.js'
import { applyMetadata, MetadataInput } from '../../http/metadata.js'
import type { SpaceRight } from '../../http/permissions.js'
import { accept, actorOf } from '../../jobs/routes.js'
import { toCfError } from '../../uploads/archive-errors.js'
import { receiveUpload } from '../../uploads/receive-upload.js'
import { recordAppEvent } from '../apps/app-events.js'
import { findApp, IN_SPACE, type AppInSpace } from '../apps/find-app.js'
import { listDroplets } from '../droplets/routes.js'
import { matchResources, readMatched, Resource } from './matched-resources.js'
import { poolFiles, PoolFilesParams } from './pool-files.js'
import { presentPackage } from './presenter.js'
import { processUpload, STALE_PROCESSING_MS } from './process-upload.js'

const CreatePackage = z.strictObject({
  type: z.enum(['bits', 'docker'], "must be one of 'bits, docker'"),
  relationships: z.strictObject({ app: ToOne }),
  data: z.unknown().optional(),
  metadata: MetadataInput.optional(),
})
const CopyPackage = z.strictObject({ relationships: z.strictObject({ app: ToOne }), type: z.unknown().optional() })
const UpdatePackage = z.strictObject({ metadata: MetadataInput.optional() })
const MatchResources = z.object({ resources: z.array(Resource).max(5000, 'is too long (maximum is 5000 resources)') })
const PackageGuid = z.object({ guid: z.string() })
const CopyParams = z.object({ from: z.string(), to: z.string() })
interface ByGuid {
  Params: { guid: string }
}

export function packageRoutes(app: FastifyInstance, context: Context): void {
  const { db, blobstore } = context
  context.jobs.register('package.pool', PoolFilesParams, (job) => poolFiles(context, job.params.packageGuid))
  context.jobs.register('package.copy', CopyParams, (job) => copyPackage(context, job.params))
  context.jobs.register('package.delete', PackageGuid, async (job) => {
    const row = await db.package.findUnique({ where: { guid: job.params.guid }, include: { app: { include: IN_SPACE } } })
    if (!row) return
    if (row.blobKey !== null) await blobstore.delete(row.blobKey)
    await db.$transaction(async (tx) => {
      await tx.build.updateMany({ where: { packageGuid: row.guid, state: 'STAGING' }, data: { cancelRequested: true } })
      await tx.package.deleteMany({ where: { guid: row.guid } })
      await recordAppEvent(tx, job.actor, row.app, 'audit.app.package.delete', { package_guid: row.guid })
    })
    context.nudges.send({ topic: 'stager' })
  })

  const find = async (request: FastifyRequest, right: SpaceRight): Promise<{ row: Package; app: AppInSpace }> => {
    const { guid } = request.params as ByGuid['Params']
    const row = await db.package.findUnique({ where: { guid }, include: { app: { include: IN_SPACE } } })
    if (!row) throw notFound('Package')
    await request.access.requireInSpace(right, row.app.space, 'Package not found')
    return { row: await giveUpStale(context, row), app: row.app }
  }

  app.get('/v3/packages', { config: { permission: 'authenticated' } }, async (request) => listPackages(context, request, {}))
  app.get<ByGuid>('/v3/apps/:guid/packages', { config: { permission: 'space.read' } }, async (request) => {
    const found = await findApp(db, request, request.params.guid, 'space.read')
    return listPackages(context, request, { appGuid: found.guid })
  })

  app.get<ByGuid>('/v3/packages/:guid', { config: { permission: 'space.read' } }, async (request) => {
    const { row } = await find(request, 'space.read')
    const read = () => db.package.findUnique({ where: { guid: row.guid } })
    const settled = (each: Package | null): boolean => each?.state !== 'PROCESSING_UPLOAD' && each?.state !== 'COPYING'
    const latest = await context.changes.readWhenSettled('package', row.guid, read, settled)
    if (!latest) throw notFound('Package')
    return presentPackage(latest, request.baseUrl)
  })

  app.post('/v3/packages', { config: { permission: 'space.develop' } }, async (request, reply) => {
    const sourceGuid = (request.query as { source_guid?: string }).source_guid
    const input = sourceGuid === undefined ? parseBody(CreatePackage, request.body) : parseBody(CopyPackage, request.body)
    const owner = await db.app.findUnique({ where: { guid: input.relationships.app.data.guid }, include: IN_SPACE })
    if (!owner || !(await request.access.hasInSpace('space.read', owner.space)))
      throw unprocessable('Invalid app. Ensure that the app exists and you have access to it.')
    await request.access.requireInSpace('space.develop', owner.space, 'App not found')
    if (input.type === 'docker')
      throw unprocessable(
        'Docker images cannot be run by this platform. Push the source instead: a buildpack makes a droplet of it.',
      )
    const source = sourceGuid === undefined ? undefined : await findSource(request, sourceGuid)
    const guid = randomUUID()
    let copy: string | undefined
    const created = await db.$transaction(async (tx) => {
      const row = await tx.package.create({
        data: {
          guid,
          appGuid: owner.guid,
          state: source ? 'COPYING' : 'AWAITING_UPLOAD',
          ...applyMetadata(undefined, 'metadata' in input ? (input.metadata as MetadataInput | undefined) : undefined),
        },
      })
      await recordAppEvent(tx, actorOf(request), owner, 'audit.app.package.create', {
        package_guid: guid,
        request: { type: 'bits', ...(source ? { source_guid: source.guid } : {}) },
      })
      if (source)
        copy = await context.jobs.create(tx, {
          operation: 'package.copy',
          params: { from: source.guid, to: guid },
          actor: actorOf(request),
        })
      return row
    })
    if (copy !== undefined) context.jobs.kick(copy)
    return reply.code(201).send(presentPackage(created, request.baseUrl))
  })

  async function findSource(request: FastifyRequest, guid: string): Promise<Package> {
    const source = await db.package.findUnique({ where: { guid }, include: { app: { include: IN_SPACE } } })
    if (!source || !(await request.access.hasInSpace('space.develop', source.app.space))) throw notFound('Package')
    if (source.state !== 'READY') throw unprocessable('The source package is not ready to be copied; upload its bits first.')
    return source
  }

  app.patch<ByGuid>('/v3/packages/:guid', { config: { permission: 'space.develop' } }, async (request) => {
    const { row } = await find(request, 'space.develop')
    const input = parseBody(UpdatePackage, request.body)
    const updated = await db.package.update({ where: { guid: row.guid }, data: applyMetadata(row, input.metadata) })
    return presentPackage(updated, request.baseUrl)
  })

  app.post<ByGuid>('/v3/packages/:guid/upload', { config: { permission: 'space.develop' } }, async (request) => {
    const { row, app: owner } = await find(request, 'space.develop')
    if (!request.access.isAdmin) await requireFeature(db, 'app_bits_upload')
    if (row.state !== 'AWAITING_UPLOAD')
      throw unprocessable('Bits may be uploaded only once. Create a new package to upload different bits.')
    return receiveUpload(request, context.settings, 'app package', async (upload) => {
      const resources = upload.fields.get('resources')
      const matched = await readMatched(context.pool, request.access, resources, owner.space.organizationGuid)
      if (upload.bitsPath === undefined && matched.length === 0)
        throw unprocessable('Upload must include either resources or bits')
      const ready = await processUpload(context, actorOf(request), owner, row, upload, matched)
      const pooling = await db.$transaction((tx) =>
        context.jobs.create(tx, { operation: 'package.pool', params: { packageGuid: row.guid }, actor: actorOf(request) }),
      )
      context.jobs.kick(pooling)
      return presentPackage(ready, request.baseUrl)
    })
  })

  app.get<ByGuid>('/v3/packages/:guid/download', { config: { permission: 'space.read_secrets' } }, async (request, reply) => {
    const { row, app: owner } = await find(request, 'space.read_secrets')
    if (row.state !== 'READY' || row.blobKey === null) throw unprocessable('Package has no bits to download.')
    const blob = await blobstore.get(row.blobKey).catch((error: unknown) => {
      throw toCfError(error)
    })
    await db.$transaction((tx) =>
      recordAppEvent(tx, actorOf(request), owner, 'audit.app.package.download', { package_guid: row.guid }),
    )
    return reply
      .type('application/zip')
      .header('content-length', blob.sizeBytes)
      .header('content-disposition', `attachment; filename="${owner.name.replace(/[^\w.-]/g, '_')}_${row.guid}.zip"`)
      .send(blob.body)
  })

  app.get<ByGuid>('/v3/packages/:guid/droplets', { config: { permission: 'space.read' } }, async (request) => {
    const { row } = await find(request, 'space.read')
    // A package may have been found to give a droplet that an earlier one gave.
    const builds = await db.build.findMany({ where: { packageGuid: row.guid, reused: true }, select: { dropletGuid: true } })
    const reused = builds.flatMap(({ dropletGuid }) => (dropletGuid === null ? [] : [dropletGuid]))
    return listDroplets(context, request, { OR: [{ packageGuid: row.guid }, { guid: { in: reused } }] })
  })

  app.delete<ByGuid>('/v3/packages/:guid', { config: { permission: 'space.develop' } }, async (request, reply) => {
    const { row } = await find(request, 'space.develop')
    return accept(context, request, reply, {
      operation: 'package.delete',
      params: { guid: row.guid },
      resourceType: 'packages',
      resourceGuid: row.guid,
    })
  })

  app.post(
    '/v3/resource_matches',
    { config: { permission: 'space.develop' }, bodyLimit: 32 * 1024 ** 2 },
    async (request, reply) => {
      const { resources } = parseBody(MatchResources, request.body)
      const matches = (await isFeatureEnabled(db, 'resource_matching'))
        ? await matchResources(context.pool, request.access, resources)
        : []
      return reply.code(201).send({ resources: matches.map((each) => ({ ...each, mode: modeText(each.mode) })) })
    },
  )
}

/** The client reads the mode as an octal string and gives up without one. */
const modeText = (mode: string | number | undefined): string => (mode === undefined || mode === '' ? '744' : String(mode))

export async function listPackages({ db }: Context, request: FastifyRequest, own: Prisma.PackageWhereInput) {
  const query = parseListQuery(request, { filters: ['app_guids', 'states', 'types', 'space_guids', 'organization_guids'] })
  const [appGuids, states, types, spaceGuids, organizationGuids] = [
    'app_guids',
    'states',
    'types',
    'space_guids',
    'organization_guids',
  ].map(query.values)
  const where: Prisma.PackageWhereInput = {
    AND: [
      { app: { space: request.access.spaces() } },
      own,
      ...query.common,
      ...(appGuids ? [{ appGuid: { in: appGuids } }] : []),
      ...(states ? [{ state: { in: states } }] : []),
      ...(types ? [{ type: { in: types } }] : []),
      ...(spaceGuids ? [{ app: { spaceGuid: { in: spaceGuids } } }] : []),
      ...(organizationGuids ? [{ app: { space: { organizationGuid: { in: organizationGuids } } } }] : []),
    ],
  }
  const page = await readPage(
    query,
    (window) => db.package.findMany({ where, orderBy: query.orderBy, ...window }),
    () => db.package.count({ where }),
  )
  return presentList(request, query, page, (row) => presentPackage(row, request.baseUrl))
}

async function giveUpStale<Row extends Package>({ db, now }: Context, row: Row): Promise<Row> {
  if (row.state !== 'PROCESSING_UPLOAD' || now().getTime() - row.updatedAt.getTime() < STALE_PROCESSING_MS) return row
  const failed = { state: 'FAILED', error: 'The platform was restarted while it processed the upload. Push again.' }
  await db.package.updateMany({ where: { guid: row.guid, state: 'PROCESSING_UPLOAD' }, data: failed })
  return { ...row, ...failed }
}

async function copyPackage(context: Context, { from, to }: z.infer<typeof CopyParams>): Promise<void> {
  const { db, blobstore } = context
  const [source, target] = await Promise.all([
    db.package.findUnique({ where: { guid: from } }),
    db.package.findUnique({ where: { guid: to } }),
  ])
  if (target?.state !== 'COPYING') return
  const key = `packages/${to}`
  if (source?.blobKey) await blobstore.copy(source.blobKey, key)
  await db.package.updateMany({
    where: { guid: to },
    data: source?.blobKey
      ? { state: 'READY', sha256: source.sha256, sizeBytes: source.sizeBytes, blobKey: key }
      : { state: 'FAILED', error: 'The package to copy from was deleted.' },
  })
  context.changes.announce('package', to)
}
