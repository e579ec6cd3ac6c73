import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'

/** A file that programs inside a container made: never a link to somewhere else, never a pipe that blocks. undefined where there is none. */
export async function openUntrusted(path: string): Promise<FileHandle | undefined> {
  let handle: FileHandle
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
    if (code === 'ENOENT' || code === 'ELOOP' || code === 'ENXIO' || code === 'EACCES') return undefined
    throw error
  }
  if ((await handle.stat()).isFile()) return handle
  await handle.close()
  return undefined
}

/** Its text, or undefined where it is missing, too large or no file. */
export async function readUntrusted(path: string, maxBytes: number): Promise<string | undefined> {
  const handle = await openUntrusted(path)
  if (!handle) return undefined
  try {
    const { size } = await handle.stat()
    return size > maxBytes ? undefined : await handle.readFile('utf8')
  } finally {
    await handle.close()
  }
}
