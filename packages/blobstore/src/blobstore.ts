import type { Readable } from 'node:stream'

export interface BlobInfo {
  readonly key: string
  readonly sizeBytes: number
  readonly sha256: string
}
export interface BlobEntry {
  readonly key: string
  readonly sizeBytes: number
  readonly modifiedAt: Date
}

/** A failure of the store, or a limit of ours. */
export class BlobError extends Error {
  override readonly name = 'BlobError'
  constructor(
    readonly kind: 'not-found' | 'too-large' | 'unavailable' | 'no-space' | 'checksum-mismatch',
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

/**
 * Keys: packages/<guid>, droplets/<guid>, buildpacks/<sha256>, caches/<app guid>/<stack>, files/<sha256> (resource matching).
 * A put is atomic: a reader sees the whole blob or none, and a broken upload leaves nothing.
 */
export interface Blobstore {
  put(key: string, body: Readable, options?: { maxBytes?: number; sha256?: string; signal?: AbortSignal }): Promise<BlobInfo>
  /** From a file that may be taken over (renamed) rather than copied. */
  putFile(key: string, path: string): Promise<BlobInfo>
  get(key: string): Promise<{ body: Readable; sizeBytes: number }>
  stat(key: string): Promise<BlobEntry | undefined>
  /** Absent keys are no error. */
  delete(key: string): Promise<void>
  list(prefix: string): AsyncIterable<BlobEntry>
  copy(from: string, to: string): Promise<void>
  /** An address from which a cell or client may read the blob without further credentials until it expires. */
  signedUrl(key: string, expiresInSeconds: number): Promise<string>
  /** For `file:` stores on this machine: the blob's path; undefined elsewhere. */
  localPath(key: string): string | undefined
}
