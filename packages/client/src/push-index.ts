// What a push needs of files and manifests, apart from the rest: most of a client's commands can do without its parsers.
export {
  findManifest,
  type Manifest,
  type ManifestApp,
  type ManifestFlags,
  type ManifestProcess,
  mergeFlags,
  parseManifest,
  readManifest,
  renderManifest,
} from './manifest.js'
export { interpolate, readVariables, type Variables } from './manifest-variables.js'
export { listSource, openSource, sha1OfFile, type Source, type SourceEntry } from './source-files.js'
export { type MatchedResource, uploadPackage, type UploadOptions, type UploadReport } from './package-upload.js'
export { applyManifest, push, type PushEvent, type PushOptions, type PushProgress } from './push.js'
