import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'

/** What a folder takes on the disk. Files come and go meanwhile; nothing there is 0. */
export async function folderBytes(path: string): Promise<number> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => [])
  let bytes = 0
  for (const entry of entries) {
    const child = join(path, entry.name)
    if (entry.isDirectory()) bytes += await folderBytes(child)
    else bytes += ((await lstat(child).catch(() => undefined))?.blocks ?? 0) * 512
  }
  return bytes
}
