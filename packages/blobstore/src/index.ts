export { type BlobEntry, BlobError, type BlobInfo, type Blobstore } from './blobstore.js'
export { openBlobstore } from './open-blobstore.js'
export { verifySignature } from './signature.js'
