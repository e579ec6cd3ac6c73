import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { assemblePackage, ArchiveError, type MatchedEntry } from '@bloomery/archives'
import { BlobError } from '@bloomery/blobstore'
import { CfError } from '@bloomery/contracts'
import type { Package } from '@bloomery/database'
import type { Context } from '../../http/context.js'
import { unprocessable } from '../../http/errors.js'
import type { JobActor } from '../../jobs/jobs.js'
import { toCfError } from '../../uploads/archive-errors.js'
import type { Upload } from '../../uploads/receive-upload.js'
import { recordAppEvent } from '../apps/app-events.js'
import type { AppInSpace } from '../apps/find-app.js'
import { fileKey } from './pool-files.js'

/** A package that was being processed when its api ended is given up after this long. */
export const STALE_PROCESSING_MS = 15 * 60_000

/** Makes the package of what has arrived: AWAITING_UPLOAD → PROCESSING_UPLOAD → READY, or FAILED with the reason. */
export async function processUpload(
  context: Context,
  actor: JobActor,
  app: AppInSpace,
  row: Package,
  upload: Upload,
  matched: readonly MatchedEntry[],
): Promise<Package> {
  const { db, blobstore } = context
  const { count } = await db.package.updateMany({
    where: { guid: row.guid, state: 'AWAITING_UPLOAD' },
    data: { state: 'PROCESSING_UPLOAD' },
  })
  if (count === 0) throw unprocessable('Bits may be uploaded only once. Create a new package to upload different bits.')
  try {
    const output = join(upload.folder, 'package.zip')
    await assemblePackage({
      ...(upload.bitsPath === undefined ? {} : { zipPath: upload.bitsPath }),
      matched,
      openFile: ({ sha256 }) => openPooled(context, sha256),
      output,
    })
    const blob = await blobstore.putFile(`packages/${row.guid}`, output)
    const ready = await db.$transaction(async (tx) => {
      const { count: kept } = await tx.package.updateMany({
        where: { guid: row.guid },
        data: { state: 'READY', error: null, sha256: blob.sha256, sizeBytes: BigInt(blob.sizeBytes), blobKey: blob.key },
      })
      if (kept === 0) return undefined
      await recordAppEvent(tx, actor, app, 'audit.app.package.upload', { package_guid: row.guid })
      return tx.package.findUniqueOrThrow({ where: { guid: row.guid } })
    })
    if (!ready) {
      await blobstore.delete(blob.key)
      throw unprocessable('The package was deleted while it was uploaded.')
    }
    announce(context, row.guid)
    return ready
  } catch (error) {
    const known = toCfError(error)
    const reason =
      known instanceof CfError ? known.message : 'The upload could not be processed for a fault of the platform. Push again.'
    await db.package.updateMany({
      where: { guid: row.guid, state: 'PROCESSING_UPLOAD' },
      data: { state: 'FAILED', error: reason },
    })
    announce(context, row.guid)
    if (error instanceof ArchiveError)
      throw new CfError('AppBitsUploadInvalid', `The app upload is invalid: ${error.message}`, { cause: error })
    throw known
  }
}

/** A file that has gone from the pool is forgotten there, so that the next push sends it. */
async function openPooled({ blobstore, db }: Context, sha256: string): Promise<Readable> {
  try {
    return (await blobstore.get(fileKey(sha256))).body
  } catch (error) {
    if (error instanceof BlobError && error.kind === 'not-found') await db.matchedFile.deleteMany({ where: { sha256 } })
    throw error
  }
}

function announce(context: Context, guid: string): void {
  context.changes.announce('package', guid)
  context.nudges.send({ topic: 'changed', kind: 'package', guid })
}
