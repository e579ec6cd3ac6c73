import { ArchiveError } from '@bloomery/archives'
import { BlobError } from '@bloomery/blobstore'
import { CfError } from '@bloomery/contracts'

/** Failures of archives and of the blob store in the words of the API; anything else stays what it is. */
export function toCfError(error: unknown): unknown {
  if (error instanceof ArchiveError)
    return new CfError('UnprocessableEntity', `The uploaded archive cannot be used: ${error.message}`, { cause: error })
  if (error instanceof BlobError) {
    if (error.kind === 'no-space' || error.kind === 'unavailable')
      return new CfError(
        'ServiceUnavailable',
        `The platform's blob store cannot take or give files now: ${error.message} Try again later.`,
        { cause: error },
      )
    if (error.kind === 'not-found')
      return new CfError('ResourceNotFound', 'The file is no longer in the blob store. Push the app again.', { cause: error })
  }
  if (error instanceof Error && 'code' in error && error.code === 'ENOSPC')
    return new CfError('ServiceUnavailable', 'The platform has no disk space left. Tell its operator, and try again later.', {
      cause: error,
    })
  return error
}
