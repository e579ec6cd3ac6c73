import { createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { type Blobstore, BlobError } from '@bloomery/blobstore'
import type { ClaimedBuild } from '../builds/build-record.js'
import { stagingError } from './failure.js'

/** Path of the package's archive on this machine: the blob itself where the store lies here, a copy in `folder` elsewhere. */
export async function providePackage(
  blobstore: Blobstore,
  { packageBlobKey: key, packageState }: ClaimedBuild,
  folder: string,
): Promise<string> {
  const again = 'Push again, so that the files are uploaded anew.'
  if (key === null || packageState !== 'READY') throw stagingError('package-gone', 'the package has no bits or is gone', again)
  try {
    const present = blobstore.localPath(key)
    if (present !== undefined) {
      if (!(await blobstore.stat(key))) throw new BlobError('not-found', `The blob '${key}' does not exist.`)
      return present
    }
    const copy = join(folder, 'package.zip')
    await pipeline((await blobstore.get(key)).body, createWriteStream(copy, { mode: 0o644 }))
    return copy
  } catch (error) {
    if (error instanceof BlobError && error.kind === 'not-found')
      throw stagingError('package-gone', 'the package is gone from the blob store', again, { cause: error })
    throw error
  }
}
