import type { Blobstore } from '@bloomery/blobstore'
import { acquireLease, type Pool } from '@bloomery/database'
import type { Logger } from '@bloomery/telemetry'
import { dropOldRows } from './drop-old-rows.js'
import { expireBits } from './expire-bits.js'
import { findOwnerlessBlobs } from './ownerless-blobs.js'

const LEASE_MS = 30 * 60_000

export interface RetentionDeps {
  readonly pool: Pool
  readonly blobstore: Pick<Blobstore, 'list' | 'delete'>
  readonly log: Logger
  /** Which process this is: of several replicas one does it at a time. */
  readonly holder: string
  readonly now: () => Date
}

/** One replica at a time; see `collect`. */
export async function retain(deps: RetentionDeps): Promise<void> {
  if (!(await acquireLease(deps.pool, 'retention', deps.holder, LEASE_MS))) return
  await collect(deps)
}

/**
 * Lets go of what is only past: rows first, then their blobs. Ended at any line, the next run finds what is left; run twice at
 * once it does no harm, a lease only spares the effort. Answers how many blobs were deleted.
 */
export async function collect({ pool, blobstore, log, now }: Omit<RetentionDeps, 'holder'>): Promise<number> {
  await dropOldRows(pool)
  const expired = await expireBits(pool)
  let deleted = 0
  for (const key of expired) {
    await blobstore.delete(key)
    deleted++
  }
  for await (const key of findOwnerlessBlobs(pool, blobstore, now())) {
    await blobstore.delete(key)
    deleted++
  }
  if (deleted > 0) log.info({ blobs: deleted }, 'bits that nobody needs any more deleted')
  return deleted
}
