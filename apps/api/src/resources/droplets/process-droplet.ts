import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ArchiveError, extractTar, PACKAGE_LIMITS } from '@bloomery/archives'
import { CfError } from '@bloomery/contracts'
import { execute, sql, type Prisma } from '@bloomery/database'
import { parse } from 'yaml'
import { z } from 'zod'
import type { Context } from '../../http/context.js'
import type { RunningJob } from '../../jobs/jobs.js'
import { toCfError } from '../../uploads/archive-errors.js'
import { withWorkFolder } from '../../uploads/work-folders.js'
import { recordAppEvent } from '../apps/app-events.js'
import { IN_SPACE } from '../apps/find-app.js'

export const ProcessDropletParams = z.object({ guid: z.string() })
export const CopyDropletParams = z.object({ from: z.string(), to: z.string() })
/** Where an upload waits for its job. */
export const uploadKey = (guid: string): string => `uploads/${guid}`
const dropletKey = (guid: string): string => `droplets/${guid}`
const StagingInfo = z.object({ start_command: z.string().optional(), detected_buildpack: z.string().optional() })

/** Checks an uploaded droplet and makes it ready to run: PROCESSING_UPLOAD → STAGED, or FAILED with the reason. */
export async function processDroplet(context: Context, job: RunningJob<z.infer<typeof ProcessDropletParams>>): Promise<void> {
  const { db, blobstore } = context
  const { guid } = job.params
  const row = await db.droplet.findUnique({ where: { guid }, include: { app: { include: IN_SPACE } } })
  if (row?.state !== 'PROCESSING_UPLOAD') return
  try {
    const info = await readStagingInfo(context, guid)
    const { body } = await blobstore.get(uploadKey(guid))
    const blob = await blobstore.put(dropletKey(guid), body)
    const given = row.processTypes as Record<string, string>
    const web = given['web'] ?? info.start_command
    await db.$transaction(async (tx) => {
      await tx.droplet.updateMany({
        where: { guid, state: 'PROCESSING_UPLOAD' },
        data: {
          state: 'STAGED',
          sha256: blob.sha256,
          sizeBytes: BigInt(blob.sizeBytes),
          blobKey: blob.key,
          processTypes: { ...given, ...(web === undefined ? {} : { web }) },
        },
      })
      await recordAppEvent(tx, job.actor, row.app, 'audit.app.droplet.upload', { droplet_guid: guid })
    })
    await blobstore.delete(uploadKey(guid))
  } catch (error) {
    const known =
      error instanceof ArchiveError
        ? new CfError('UnprocessableEntity', `The uploaded file is no droplet: ${error.message}`, { cause: error })
        : toCfError(error)
    if (known instanceof CfError) {
      await db.droplet.updateMany({ where: { guid }, data: { state: 'FAILED', error: known.message } })
      await blobstore.delete(uploadKey(guid))
    }
    throw known
  }
}

const readStagingInfo = ({ blobstore, settings }: Context, guid: string): Promise<z.infer<typeof StagingInfo>> =>
  withWorkFolder(settings, async (folder) => {
    const { body } = await blobstore.get(uploadKey(guid))
    await extractTar(body, folder, { limits: PACKAGE_LIMITS, links: 'any' })
    const isFolder = await stat(join(folder, 'app')).then(
      (found) => found.isDirectory(),
      () => false,
    )
    if (!isFolder) throw new ArchiveError('malformed', "there is no folder 'app' in it")
    const text = await readFile(join(folder, 'staging_info.yml'), 'utf8').catch(() => '{}')
    const parsed = StagingInfo.safeParse(parse(text, { maxAliasCount: 10 }))
    return parsed.success ? parsed.data : {}
  })

/** Copies a droplet to another app, with what is known of its content. May be run again. */
export async function copyDroplet(
  { db, pool, blobstore }: Context,
  { from, to }: z.infer<typeof CopyDropletParams>,
): Promise<void> {
  const [source, target] = await Promise.all([
    db.droplet.findUnique({ where: { guid: from } }),
    db.droplet.findUnique({ where: { guid: to } }),
  ])
  if (target?.state !== 'COPYING') return
  if (!source?.blobKey) {
    await db.droplet.updateMany({
      where: { guid: to },
      data: { state: 'FAILED', error: 'The droplet to copy from was deleted.' },
    })
    throw new CfError('UnprocessableEntity', 'The droplet to copy from was deleted.')
  }
  await blobstore.copy(source.blobKey, dropletKey(to))
  await execute(
    pool,
    sql`INSERT INTO droplet_components (droplet_guid, purl, name, version, version_key, kind, source, checksum)
        SELECT ${to}, purl, name, version, version_key, kind, source, checksum FROM droplet_components WHERE droplet_guid = ${from}
        ON CONFLICT DO NOTHING`,
  )
  await db.droplet.updateMany({
    where: { guid: to, state: 'COPYING' },
    data: {
      state: 'STAGED',
      sha256: source.sha256,
      sizeBytes: source.sizeBytes,
      blobKey: dropletKey(to),
      processTypes: source.processTypes as Prisma.InputJsonObject,
      ...(source.inputs === null ? {} : { inputs: source.inputs as Prisma.InputJsonObject }),
    },
  })
}
