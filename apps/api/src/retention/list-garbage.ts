import type { Blobstore } from '@bloomery/blobstore'
import type { Queryable } from '@bloomery/database'
import { KEPT } from './kept.js'
import { type ExpiringBits, listExpiring } from './expire-bits.js'
import { findOwnerlessBlobs } from './ownerless-blobs.js'

/** A blob that the next collection deletes. */
export interface Garbage {
  readonly key: string
  readonly kind: 'package' | 'droplet' | 'ownerless'
  readonly bytes: number
  /** For people. */
  readonly reason: string
  readonly app?: { readonly guid: string; readonly name: string }
}

/** What would be deleted now, and why; deletes nothing. Only what lies under the prefixes that Bloomery itself writes is ever looked at. */
export async function listGarbage(on: Queryable, blobstore: Pick<Blobstore, 'list' | 'stat'>, now: Date): Promise<Garbage[]> {
  const { packages, droplets } = await listExpiring(on)
  const sized = async (bits: ExpiringBits): Promise<number> =>
    Number(bits.bytes ?? (await blobstore.stat(bits.key))?.sizeBytes ?? 0)
  const describe = async (kind: 'package' | 'droplet', bits: ExpiringBits, reason: string): Promise<Garbage> => ({
    key: bits.key,
    kind,
    bytes: await sized(bits),
    reason,
    app: { guid: bits.appGuid, name: bits.appName },
  })
  const found = await Promise.all([
    ...packages.map((bits) =>
      describe('package', bits, `older than the app's ${KEPT.packages} newest packages, and not that of its current droplet`),
    ),
    ...droplets.map((bits) =>
      describe(
        'droplet',
        bits,
        `older than the app's ${KEPT.droplets} newest droplets; neither current, nor running, nor being deployed`,
      ),
    ),
  ])
  for await (const key of findOwnerlessBlobs(on, blobstore, now))
    found.push({
      key,
      kind: 'ownerless',
      bytes: (await blobstore.stat(key))?.sizeBytes ?? 0,
      reason: `belongs to nothing that there is, and is older than ${KEPT.ownerlessBlobHours} hours`,
    })
  return found
}
