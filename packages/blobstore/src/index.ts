export { type BlobEntry, BlobError, type BlobInfo, type Blobstore } from './blobstore.js'
