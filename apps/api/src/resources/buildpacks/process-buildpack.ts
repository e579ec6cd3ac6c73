import { createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { ArchiveError, visitZip } from '@bloomery/archives'
import { BlobError } from '@bloomery/blobstore'
import { CfError } from '@bloomery/contracts'
import type { Transaction } from '@bloomery/database'
import { parse } from 'yaml'
import { z } from 'zod'
import { recordAudit } from '../../http/audit.js'
import type { Context } from '../../http/context.js'
import type { RunningJob } from '../../jobs/jobs.js'
import { toCfError } from '../../uploads/archive-errors.js'
import { withWorkFolder } from '../../uploads/work-folders.js'
import { lockPositions } from './positions.js'
import { requireFreeStack } from './require-free-name.js'

export const ProcessBuildpackParams = z.object({ guid: z.string(), upload: z.string(), filename: z.string() })
type Params = z.infer<typeof ProcessBuildpackParams>
/** Buildpacks are the operator's, and may carry the runtimes that they install. */
const LIMITS = { maxEntries: 200_000, maxBytes: 8 * 1024 ** 3, maxRatio: 500 }
const MAX_MANIFEST_BYTES = 1024 * 1024
const Manifest = z.object({ stack: z.string().nullish() })

/** Where an upload waits for its job. */
export const uploadKey = (upload: string): string => `uploads/${upload}`

/** Checks what was uploaded, learns its stack and puts it in the place of what was there. Until then the old bits stay in use. */
export async function processBuildpack(context: Context, job: RunningJob<Params>): Promise<void> {
  const { db, blobstore } = context
  const { guid, upload, filename } = job.params
  try {
    const named = await readStack(context, uploadKey(upload))
    const { body } = await blobstore.get(uploadKey(upload))
    const staged = await blobstore.put(`${uploadKey(upload)}.checked`, body)
    const key = `buildpacks/${staged.sha256}`
    await blobstore.copy(staged.key, key)
    const old = await db.$transaction(async (tx) => {
      await lockPositions(tx)
      const present = await tx.buildpack.findUnique({ where: { guid } })
      if (!present) throw new CfError('ResourceNotFound', 'The buildpack was deleted while it was uploaded.')
      const stack = await stackAfter(tx, present.stack, named)
      await requireFreeStack(tx, { guid, name: present.name, stack })
      await tx.buildpack.update({
        where: { guid },
        data: { state: 'READY', stack, filename, sha256: staged.sha256, blobKey: key },
      })
      await recordAudit(tx, job.actor, {
        type: 'audit.buildpack.upload',
        target: { type: 'buildpack', guid, name: present.name },
        data: { request: { bits_name: filename } },
      })
      return present.blobKey
    })
    if (old !== null && old !== key) await dropUnused(context, old)
    await discard(context, upload)
  } catch (error) {
    // Run again after a crash, the upload may be gone because all was done.
    if (error instanceof BlobError && error.kind === 'not-found' && (await isDone(context, job.params))) return
    const known = toBuildpackError(error)
    if (known instanceof CfError && known.kind !== 'ServiceUnavailable') await discard(context, upload)
    throw known
  }
}

async function isDone({ db }: Context, { guid, filename }: Params): Promise<boolean> {
  const present = await db.buildpack.findUnique({ where: { guid } })
  return present?.state === 'READY' && present.filename === filename
}

async function discard({ blobstore }: Context, upload: string): Promise<void> {
  await blobstore.delete(`${uploadKey(upload)}.checked`)
  await blobstore.delete(uploadKey(upload))
}

/** Removes bits that no buildpack has any more; several may have been made of one file. */
export async function dropUnused({ db, blobstore }: Context, key: string): Promise<void> {
  if ((await db.buildpack.count({ where: { blobKey: key } })) === 0) await blobstore.delete(key)
}

async function stackAfter(tx: Transaction, present: string | null, named: string | undefined): Promise<string | null> {
  if (named === undefined) return present
  if (present !== null && present !== named)
    throw new CfError('BuildpackStacksDontMatch', `Uploaded buildpack stack (${named}) does not match ${present}`)
  if (!(await tx.stack.findUnique({ where: { name: named } })))
    throw new CfError('BuildpackStackDoesNotExist', `Uploaded buildpack stack (${named}) does not exist`)
  return named
}

/** The stack that manifest.yml names, if there is one. Every entry is checked on the way. */
const readStack = ({ blobstore, settings }: Context, key: string): Promise<string | undefined> =>
  withWorkFolder(settings, async (folder) => {
    const archive = join(folder, 'buildpack.zip')
    await pipeline((await blobstore.get(key)).body, createWriteStream(archive))
    let manifest: string | undefined
    await visitZip(archive, LIMITS, async (entry, open) => {
      if (entry.path === 'manifest.yml' && entry.type === 'file' && entry.sizeBytes <= MAX_MANIFEST_BYTES)
        manifest = await text(await open())
    })
    return manifest === undefined ? undefined : stackIn(manifest)
  })

function stackIn(manifest: string): string | undefined {
  try {
    return Manifest.parse(parse(manifest, { maxAliasCount: 100 })).stack || undefined
  } catch (error) {
    throw new CfError('BuildpackInvalid', "The buildpack's manifest.yml cannot be read as YAML with a text as 'stack'.", {
      cause: error,
    })
  }
}

function toBuildpackError(error: unknown): unknown {
  if (error instanceof ArchiveError)
    return new CfError('BuildpackZipError', `Buildpack zip error: ${error.message}`, { cause: error })
  return toCfError(error)
}
