import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Droplet, Prisma } from '@bloomery/database'
import { z } from 'zod'
import { parseBody, ToOne } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { parseListQuery, presentList, readPage } from '../../http/lists.js'
import { applyMetadata, MetadataInput } from '../../http/metadata.js'
import type { SpaceRight } from '../../http/permissions.js'
import { accept, actorOf } from '../../jobs/routes.js'
import { toCfError } from '../../uploads/archive-errors.js'
import { receiveUpload } from '../../uploads/receive-upload.js'
import { recordAppEvent } from '../apps/app-events.js'
import { findApp, IN_SPACE, type AppInSpace } from '../apps/find-app.js'
import { dropletsInUse } from './droplets-in-use.js'
import { presentDroplet } from './presenter.js'
import { copyDroplet, CopyDropletParams, processDroplet, ProcessDropletParams, uploadKey } from './process-droplet.js'

const CreateDroplet = z.strictObject({
  relationships: z.strictObject({ app: ToOne }),
  process_types: z.record(z.string().min(1), z.string()).optional(),
})
const CopyDroplet = z.strictObject({ relationships: z.strictObject({ app: ToOne }) })
const UpdateDroplet = z.strictObject({ metadata: MetadataInput.optional(), image: z.unknown().optional() })
const DropletGuid = z.object({ guid: z.string() })
interface ByGuid {
  Params: { guid: string }
}

export function dropletRoutes(app: FastifyInstance, context: Context): void {
  const { db, blobstore } = context
  context.jobs.register('droplet.upload', ProcessDropletParams, (job) => processDroplet(context, job))
  context.jobs.register('droplet.copy', CopyDropletParams, (job) => copyDroplet(context, job.params))
  context.jobs.register('droplet.delete', DropletGuid, async (job) => {
    const row = await db.droplet.findUnique({ where: { guid: job.params.guid }, include: { app: { include: IN_SPACE } } })
    if (!row) return
    if (row.blobKey !== null) await blobstore.delete(row.blobKey)
    await db.$transaction(async (tx) => {
      await tx.droplet.deleteMany({ where: { guid: row.guid } })
      await recordAppEvent(tx, job.actor, row.app, 'audit.app.droplet.delete', { droplet_guid: row.guid })
    })
  })

  const find = async (request: FastifyRequest, right: SpaceRight): Promise<{ row: Droplet; app: AppInSpace }> => {
    const { guid } = request.params as ByGuid['Params']
    const row = await db.droplet.findUnique({ where: { guid }, include: { app: { include: IN_SPACE } } })
    if (!row) throw notFound('Droplet')
    await request.access.requireInSpace(right, row.app.space, 'Droplet not found')
    return { row, app: row.app }
  }
  const findOwner = async (request: FastifyRequest, guid: string): Promise<AppInSpace> => {
    const owner = await db.app.findUnique({ where: { guid }, include: IN_SPACE })
    if (!owner || !(await request.access.hasInSpace('space.read', owner.space)))
      throw unprocessable(`App with guid "${guid}" does not exist, or you do not have access to it.`)
    await request.access.requireInSpace('space.develop', owner.space, 'App not found')
    return owner
  }

  app.get('/v3/droplets', { config: { permission: 'authenticated' } }, async (request) => listDroplets(context, request, {}))
  app.get<ByGuid>('/v3/apps/:guid/droplets', { config: { permission: 'space.read' } }, async (request) => {
    const found = await findApp(db, request, request.params.guid, 'space.read')
    return listDroplets(context, request, { appGuid: found.guid })
  })

  app.get<ByGuid>('/v3/droplets/:guid', { config: { permission: 'space.read' } }, async (request) =>
    presentDroplet((await find(request, 'space.read')).row, request.baseUrl),
  )

  app.post('/v3/droplets', { config: { permission: 'space.develop' } }, async (request, reply) => {
    const sourceGuid = (request.query as { source_guid?: string }).source_guid
    if (sourceGuid !== undefined) {
      const input = parseBody(CopyDroplet, request.body)
      const owner = await findOwner(request, input.relationships.app.data.guid)
      const source = await db.droplet.findUnique({ where: { guid: sourceGuid }, include: { app: { include: IN_SPACE } } })
      if (!source || !(await request.access.hasInSpace('space.develop', source.app.space))) throw notFound('Droplet')
      if (source.state !== 'STAGED') throw unprocessable('The source droplet is not staged.')
      const guid = randomUUID()
      const [row, job] = await db.$transaction(async (tx) => [
        await tx.droplet.create({
          data: {
            guid,
            appGuid: owner.guid,
            state: 'COPYING',
            stack: source.stack,
            processTypes: source.processTypes as Prisma.InputJsonObject,
            buildpacks: source.buildpacks as Prisma.InputJsonArray,
            executionMetadata: source.executionMetadata,
          },
        }),
        await context.jobs.create(tx, {
          operation: 'droplet.copy',
          params: { from: source.guid, to: guid },
          actor: actorOf(request),
        }),
      ])
      context.jobs.kick(job)
      return reply.code(201).send(presentDroplet(row, request.baseUrl))
    }
    const input = parseBody(CreateDroplet, request.body)
    const owner = await findOwner(request, input.relationships.app.data.guid)
    const guid = randomUUID()
    const row = await db.$transaction(async (tx) => {
      await recordAppEvent(tx, actorOf(request), owner, 'audit.app.droplet.create', { droplet_guid: guid })
      return tx.droplet.create({
        data: {
          guid,
          appGuid: owner.guid,
          state: 'AWAITING_UPLOAD',
          stack: owner.stack,
          processTypes: input.process_types ?? {},
        },
      })
    })
    return reply.code(201).send(presentDroplet(row, request.baseUrl))
  })

  app.post<ByGuid>('/v3/droplets/:guid/upload', { config: { permission: 'space.develop' } }, async (request, reply) => {
    const { row } = await find(request, 'space.develop')
    if (row.state !== 'AWAITING_UPLOAD')
      throw unprocessable('Droplet may be uploaded only once. Create a new droplet to upload bits.')
    return receiveUpload(request, context.settings, 'droplet', async (upload) => {
      if (upload.bitsPath === undefined) throw unprocessable('A droplet file (part `bits`) must be uploaded')
      await blobstore.putFile(uploadKey(row.guid), upload.bitsPath).catch((error: unknown) => {
        throw toCfError(error)
      })
      return accept(
        context,
        request,
        reply,
        { operation: 'droplet.upload', params: { guid: row.guid }, resourceType: 'droplets', resourceGuid: row.guid },
        async (tx) => {
          const { count } = await tx.droplet.updateMany({
            where: { guid: row.guid, state: 'AWAITING_UPLOAD' },
            data: { state: 'PROCESSING_UPLOAD' },
          })
          if (count === 0) throw unprocessable('Droplet may be uploaded only once. Create a new droplet to upload bits.')
        },
      )
    })
  })

  app.get<ByGuid>('/v3/droplets/:guid/download', { config: { permission: 'space.develop' } }, async (request, reply) => {
    const { row, app: owner } = await find(request, 'space.develop')
    if (row.state !== 'STAGED') throw unprocessable('Only staged droplets can be downloaded.')
    if (row.blobKey === null)
      throw unprocessable("The droplet's archive is still on its way to the blob store; try again in a moment.")
    const blob = await blobstore.get(row.blobKey).catch((error: unknown) => {
      throw toCfError(error)
    })
    await db.$transaction((tx) =>
      recordAppEvent(tx, actorOf(request), owner, 'audit.app.droplet.download', { droplet_guid: row.guid }),
    )
    return reply.type('application/gzip').header('content-length', blob.sizeBytes).send(blob.body)
  })

  app.patch<ByGuid>('/v3/droplets/:guid', { config: { permission: 'space.develop' } }, async (request) => {
    const { row } = await find(request, 'space.develop')
    const input = parseBody(UpdateDroplet, request.body)
    const updated = await db.droplet.update({ where: { guid: row.guid }, data: applyMetadata(row, input.metadata) })
    return presentDroplet(updated, request.baseUrl)
  })

  app.delete<ByGuid>('/v3/droplets/:guid', { config: { permission: 'space.develop' } }, async (request, reply) => {
    const { row, app: owner } = await find(request, 'space.develop')
    if (owner.currentDropletGuid === row.guid)
      throw unprocessable("This is the app's current droplet; make another one current before you delete it.")
    if ((await dropletsInUse(db, owner.guid)).has(row.guid))
      throw unprocessable('Instances of the app run with this droplet; restart the app with another one before you delete it.')
    return accept(context, request, reply, {
      operation: 'droplet.delete',
      params: { guid: row.guid },
      resourceType: 'droplets',
      resourceGuid: row.guid,
    })
  })
}

export async function listDroplets({ db }: Context, request: FastifyRequest, own: Prisma.DropletWhereInput) {
  const query = parseListQuery(request, { filters: ['app_guids', 'states', 'space_guids', 'organization_guids', 'current'] })
  const [appGuids, states, spaceGuids, organizationGuids] = ['app_guids', 'states', 'space_guids', 'organization_guids'].map(
    query.values,
  )
  const where: Prisma.DropletWhereInput = {
    AND: [
      { app: { space: request.access.spaces() } },
      own,
      ...query.common,
      ...(appGuids ? [{ appGuid: { in: appGuids } }] : []),
      ...(states ? [{ state: { in: states } }] : []),
      ...(spaceGuids ? [{ app: { spaceGuid: { in: spaceGuids } } }] : []),
      ...(organizationGuids ? [{ app: { space: { organizationGuid: { in: organizationGuids } } } }] : []),
      ...(query.value('current') === 'true' ? [{ currentOf: { some: {} } }] : []),
    ],
  }
  const page = await readPage(
    query,
    (window) => db.droplet.findMany({ where, orderBy: query.orderBy, ...window }),
    () => db.droplet.count({ where }),
  )
  return presentList(request, query, page, (row) => presentDroplet(row, request.baseUrl))
}
