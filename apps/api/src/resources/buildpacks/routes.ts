import { randomUUID } from 'node:crypto'
import { open } from 'node:fs/promises'
import { basename } from 'node:path'
import type { FastifyInstance } from 'fastify'
import type { Buildpack, Prisma } from '@bloomery/database'
import { z } from 'zod'
import { recordAudit } from '../../http/audit.js'
import { Integer, parseBody } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { parseListQuery, presentList, readPage } from '../../http/lists.js'
import { applyMetadata, MetadataInput } from '../../http/metadata.js'
import { accept, actorOf } from '../../jobs/routes.js'
import { toCfError } from '../../uploads/archive-errors.js'
import { receiveUpload, type Upload } from '../../uploads/receive-upload.js'
import { lockPositions, renumber } from './positions.js'
import { presentBuildpack } from './presenter.js'
import { dropUnused, processBuildpack, ProcessBuildpackParams, uploadKey } from './process-buildpack.js'
import { requireFreeName, requireStack } from './require-free-name.js'

const Name = z
  .string('must be a string')
  .min(1, "can't be blank")
  .max(250, 'is too long (maximum is 250 characters)')
  .regex(/^[-\w]+$/, 'can only contain alphanumeric characters, underscores and hyphens')
const Position = Integer.pipe(z.number().min(1, 'must be greater than or equal to 1'))
const fields = {
  stack: z.string('must be a string').max(250, 'is too long (maximum is 250 characters)').nullish(),
  position: Position.nullish(),
  enabled: z.boolean('must be a boolean').nullish(),
  locked: z.boolean('must be a boolean').nullish(),
  metadata: MetadataInput.optional(),
}
const CreateBuildpack = z.strictObject({
  name: Name,
  lifecycle: z.enum(['buildpack', 'cnb'], 'must be either "buildpack" or "cnb"').nullish(),
  ...fields,
})
const UpdateBuildpack = z.strictObject({ name: Name.optional(), ...fields })
const BuildpackGuid = z.object({ guid: z.string() })
const ZIP_MAGIC = Buffer.from('PK\x03\x04')
interface ByGuid {
  Params: { guid: string }
}
const PATH = '/v3/buildpacks/:guid'

/** What turns source into droplets: the product's own and those that operators bring. */
export function buildpackRoutes(app: FastifyInstance, context: Context): void {
  const { db, blobstore } = context
  const find = async (guid: string): Promise<Buildpack> => {
    const buildpack = await db.buildpack.findUnique({ where: { guid } })
    if (!buildpack) throw notFound('Buildpack')
    return buildpack
  }

  app.get('/v3/buildpacks', { config: { permission: 'authenticated' } }, async (request) => {
    const query = parseListQuery(request, {
      filters: ['names', 'stacks', 'lifecycle'],
      orderBy: { position: 'position', name: 'name' },
      defaultOrder: [{ position: 'asc' }],
    })
    const names = query.values('names')
    const stacks = query.values('stacks')
    const lifecycle = query.value('lifecycle')
    const where: Prisma.BuildpackWhereInput = {
      AND: [
        ...query.common,
        ...(names ? [{ name: { in: names } }] : []),
        // An empty value stands for those without a stack.
        ...(stacks
          ? [{ OR: [{ stack: { in: stacks.filter(Boolean) } }, ...(stacks.includes('') ? [{ stack: null }] : [])] }]
          : []),
        ...(lifecycle === undefined ? [] : [{ lifecycle }]),
      ],
    }
    const page = await readPage(
      query,
      (window) => db.buildpack.findMany({ where, orderBy: query.orderBy, ...window }),
      () => db.buildpack.count({ where }),
    )
    return presentList(request, query, page, (buildpack) => presentBuildpack(buildpack, request.baseUrl))
  })

  app.get<ByGuid>(PATH, { config: { permission: 'authenticated' } }, async (request) =>
    presentBuildpack(await find(request.params.guid), request.baseUrl),
  )

  app.post('/v3/buildpacks', { config: { permission: 'admin' } }, async (request, reply) => {
    const input = parseBody(CreateBuildpack, request.body)
    if (input.lifecycle === 'cnb') throw unprocessable("This platform stages with buildpacks of the lifecycle 'buildpack' only.")
    const guid = randomUUID()
    const buildpack = await db.$transaction(async (tx) => {
      await lockPositions(tx)
      const stack = input.stack || null
      if (stack !== null) await requireStack(tx, stack)
      await requireFreeName(tx, { guid, name: input.name, stack })
      await tx.buildpack.create({
        data: {
          guid,
          name: input.name,
          stack,
          // Behind all others; `renumber` brings it to its place.
          position: (await tx.buildpack.count()) + 1,
          enabled: input.enabled ?? true,
          locked: input.locked ?? false,
          state: 'AWAITING_UPLOAD',
          ...applyMetadata(undefined, input.metadata),
        },
      })
      await renumber(tx, { guid, position: input.position ?? 1 })
      await recordAudit(tx, actorOf(request), {
        type: 'audit.buildpack.create',
        target: { type: 'buildpack', guid, name: input.name },
        data: { request: requestOf(input) },
      })
      return tx.buildpack.findUniqueOrThrow({ where: { guid } })
    })
    return reply.code(201).send(presentBuildpack(buildpack, request.baseUrl))
  })

  app.patch<ByGuid>(PATH, { config: { permission: 'admin' } }, async (request) => {
    const { guid } = await find(request.params.guid)
    const input = parseBody(UpdateBuildpack, request.body)
    const updated = await db.$transaction(async (tx) => {
      await lockPositions(tx)
      const present = await tx.buildpack.findUnique({ where: { guid } })
      if (!present) throw notFound('Buildpack')
      const stack = input.stack === undefined ? present.stack : input.stack || null
      if (stack !== present.stack) {
        if (present.stack !== null) throw unprocessable('Buildpack stack cannot be changed')
        if (stack !== null) await requireStack(tx, stack)
      }
      const name = input.name ?? present.name
      if (name !== present.name || stack !== present.stack) await requireFreeName(tx, { guid, name, stack })
      await tx.buildpack.update({
        where: { guid },
        data: {
          name,
          stack,
          enabled: input.enabled ?? present.enabled,
          locked: input.locked ?? present.locked,
          ...applyMetadata(present, input.metadata),
        },
      })
      if (input.position != null) await renumber(tx, { guid, position: input.position })
      await recordAudit(tx, actorOf(request), {
        type: 'audit.buildpack.update',
        target: { type: 'buildpack', guid, name },
        data: { request: requestOf(input) },
      })
      return tx.buildpack.findUniqueOrThrow({ where: { guid } })
    })
    return presentBuildpack(updated, request.baseUrl)
  })

  context.jobs.register('buildpack.upload', ProcessBuildpackParams, (job) => processBuildpack(context, job))
  app.post<ByGuid>(`${PATH}/upload`, { config: { permission: 'admin' } }, async (request, reply) => {
    const buildpack = await find(request.params.guid)
    if (buildpack.locked) throw unprocessable('Buildpack is locked')
    return receiveUpload(request, context.settings, 'buildpack', async (upload) => {
      const { path, filename } = await requireZip(upload)
      const key = randomUUID()
      await blobstore.putFile(uploadKey(key), path).catch((error: unknown) => {
        throw toCfError(error)
      })
      return accept(context, request, reply, {
        operation: 'buildpack.upload',
        params: { guid: buildpack.guid, upload: key, filename },
        resourceType: 'buildpacks',
        resourceGuid: buildpack.guid,
      })
    })
  })

  context.jobs.register('buildpack.delete', BuildpackGuid, async ({ params: { guid }, actor }) => {
    const key = await db.$transaction(async (tx) => {
      await lockPositions(tx)
      const present = await tx.buildpack.findUnique({ where: { guid } })
      if (!present) return null
      await tx.buildpack.delete({ where: { guid } })
      await renumber(tx)
      await recordAudit(tx, actor, {
        type: 'audit.buildpack.delete',
        target: { type: 'buildpack', guid, name: present.name },
      })
      return present.blobKey
    })
    if (key !== null) await dropUnused(context, key)
  })
  app.delete<ByGuid>(PATH, { config: { permission: 'admin' } }, async (request, reply) => {
    const buildpack = await find(request.params.guid)
    return accept(context, request, reply, {
      operation: 'buildpack.delete',
      params: { guid: buildpack.guid },
      resourceType: 'buildpacks',
      resourceGuid: buildpack.guid,
    })
  })
}

/** What the event tells of the request. */
const requestOf = (input: z.infer<typeof UpdateBuildpack>): Prisma.InputJsonObject =>
  Object.fromEntries(
    Object.entries(input).flatMap(([key, value]) =>
      key === 'metadata' || value === undefined ? [] : [[key, value as string | number | boolean | null]],
    ),
  )

/** Told at once, before a job has to find it out. */
async function requireZip({ bitsPath, filename }: Upload): Promise<{ path: string; filename: string }> {
  const invalid = (reason: string) => unprocessable(`Uploaded buildpack file is invalid: ${reason}`)
  if (bitsPath === undefined) throw invalid("A buildpack zip file must be uploaded as 'bits'")
  const name = basename(filename ?? 'buildpack.zip')
  const file = await open(bitsPath)
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(ZIP_MAGIC.length), 0, ZIP_MAGIC.length, 0)
    if (bytesRead === 0) throw invalid(`${name} cannot be empty`)
    if (!buffer.equals(ZIP_MAGIC))
      throw invalid(`${name} is not a zip file. Buildpacks of lifecycle "buildpack" must be valid zip files.`)
  } finally {
    await file.close()
  }
  return { path: bitsPath, filename: name }
}
