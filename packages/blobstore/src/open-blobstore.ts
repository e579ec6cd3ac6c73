import { isAbsolute } from 'node:path'
import { fileURLToPath } from 'node:url'
import { BlobError, type Blobstore } from './blobstore.js'
import { FileBlobstore } from './file-blobstore.js'

/**
 * Opens the store that a URL names: `file:/absolute/folder`, or `s3://[key:secret@]bucket[/prefix]?region=…&endpoint=…&path_style=true`.
 * `blobsUrl` is the origin under which the api serves `/internal/blobs/<key>`; the present `signingKey` signs those addresses (file: only).
 */
export async function openBlobstore(url: string, access: { blobsUrl: string; signingKey: () => Buffer }): Promise<Blobstore> {
  if (url.startsWith('file:')) {
    const path = url.startsWith('file://') ? fileURLToPath(url) : url.slice('file:'.length)
    if (!isAbsolute(path))
      throw new BlobError('unavailable', `BLOBSTORE_URL must name an absolute folder, as in file:/var/lib/blobs.`)
    return new FileBlobstore(path, access)
  }
  if (url.startsWith('s3:')) {
    // The S3 client is large; installations without one do not load it.
    const { parseS3Url, S3Blobstore } = await import('./s3-blobstore.js')
    return new S3Blobstore(parseS3Url(url))
  }
  throw new BlobError('unavailable', `BLOBSTORE_URL must begin with file: or s3:.`)
}
