import { createHash } from 'node:crypto'
import type { ArchiveLimits } from './limits.js'
import { visitZip, type ZipEntry } from './zip-entries.js'

/** A file of an archive with both its names in the pool of known files. */
export interface HashedFile {
  readonly path: string
  readonly mode: number
  readonly sizeBytes: number
  readonly sha1: string
  readonly sha256: string
}

/** SHA-1 (what clients ask by) and SHA-256 (what a file is known by) of each wanted file in a zip archive, in one pass. */
export async function hashZipFiles(
  path: string,
  limits: ArchiveLimits,
  isWanted: (entry: ZipEntry) => boolean = () => true,
): Promise<HashedFile[]> {
  const hashed: HashedFile[] = []
  await visitZip(path, limits, async (entry, open) => {
    if (entry.type !== 'file' || !isWanted(entry)) return
    const sha1 = createHash('sha1')
    const sha256 = createHash('sha256')
    for await (const chunk of (await open()) as AsyncIterable<Buffer>) {
      sha1.update(chunk)
      sha256.update(chunk)
    }
    const { mode, sizeBytes } = entry
    hashed.push({ path: entry.path, mode, sizeBytes, sha1: sha1.digest('hex'), sha256: sha256.digest('hex') })
  })
  return hashed
}
