import { BlobError } from './blobstore.js'

const SEGMENT = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$/

/** Refuses whatever could leave the store's folder or collide with its own files. */
export function checkKey(key: string): void {
  const segments = key.split('/')
  if (key.length > 500 || !segments.every((segment) => SEGMENT.test(segment)))
    throw new BlobError('not-found', `'${key.slice(0, 200)}' is not a blob key.`)
}

export const notFound = (key: string, cause?: unknown): BlobError =>
  new BlobError('not-found', `The blob '${key}' does not exist.`, { cause })
