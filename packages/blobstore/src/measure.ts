import { createHash } from 'node:crypto'
import { Transform } from 'node:stream'
import { BlobError } from './blobstore.js'

/** Passes bytes through, counts and hashes them, and fails as soon as there are too many. */
export function measure(maxBytes: number | undefined): {
  through: Transform
  result: () => { sizeBytes: number; sha256: string }
} {
  const hash = createHash('sha256')
  let sizeBytes = 0
  let digest: string | undefined
  const through = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      sizeBytes += chunk.length
      if (maxBytes !== undefined && sizeBytes > maxBytes) {
        done(new BlobError('too-large', `The upload is larger than the limit of ${maxBytes} bytes.`))
        return
      }
      hash.update(chunk)
      done(null, chunk)
    },
  })
  return { through, result: () => ({ sizeBytes, sha256: (digest ??= hash.digest('hex')) }) }
}

export function checkSha256(expected: string | undefined, actual: string): void {
  if (expected !== undefined && expected.toLowerCase() !== actual)
    throw new BlobError('checksum-mismatch', `The upload's SHA-256 is ${actual}, not ${expected} as announced; send it again.`)
}

const errorCode = (error: unknown): string | undefined =>
  typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string' ? error.code : undefined

/** Gives a failure of the disk its kind; what already has one stays as it is. */
export function fromDisk(error: unknown, doing: string): unknown {
  if (error instanceof BlobError) return error
  const code = errorCode(error)
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new BlobError('no-space', `No space left in the blob store while ${doing}; free some disk space and try again.`, {
      cause: error,
    })
  if (code === 'EACCES' || code === 'EIO' || code === 'EROFS')
    return new BlobError('unavailable', `The blob store cannot be used while ${doing} (${code}).`, { cause: error })
  return error
}

export const isMissing = (error: unknown): boolean => errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR'
export const isOtherDevice = (error: unknown): boolean => {
  const code = errorCode(error)
  return code === 'EXDEV' || code === 'EPERM' || code === 'EMLINK' || code === 'ENOTSUP'
}
