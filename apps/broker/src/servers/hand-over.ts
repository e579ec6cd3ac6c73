import { constants } from 'node:fs'
import { open, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

const PIECE_BYTES = 256 * 1024

/**
 * Copies a file between a server's folder and the broker's, whole or not at all, and gives the copy to whom its folder belongs. The
 * server's user may put what it likes into its own folder: links are not followed, and only plain files are taken.
 */
export async function copyFileOver(from: string, to: string, signal?: AbortSignal): Promise<void> {
  const unfinished = `${to}.new`
  const source = await open(from, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    if (!(await source.stat()).isFile()) throw new Error(`${from} is not a file.`)
    await rm(unfinished, { force: true })
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
    const target = await open(unfinished, flags, 0o600)
    try {
      const piece = Buffer.allocUnsafe(PIECE_BYTES)
      for (let read = await source.read(piece); read.bytesRead > 0; read = await source.read(piece)) {
        signal?.throwIfAborted()
        for (let at = 0; at < read.bytesRead;) at += (await target.write(piece, at, read.bytesRead - at)).bytesWritten
      }
      const { uid, gid } = await stat(dirname(to))
      if (process.getuid?.() === 0) await target.chown(uid, gid)
      await target.sync()
    } finally {
      await target.close()
    }
    await rename(unfinished, to)
  } catch (error) {
    await rm(unfinished, { force: true })
    throw error
  } finally {
    await source.close()
  }
}

/** True if the file begins with these characters. */
export async function startsWith(file: string, text: string): Promise<boolean> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(text.length), 0, text.length, 0)
    return buffer.toString('latin1', 0, bytesRead) === text
  } finally {
    await handle.close()
  }
}
