import { createWriteStream } from 'node:fs'
import { chmod, mkdir, rm, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { ArchiveLimits } from './limits.js'
import { visitZip } from './zip-entries.js'

/** Unpacks a zip archive into a new or empty folder. Folders stay writable for their owner, whatever the archive says. */
export async function extractZip(path: string, target: string, limits: ArchiveLimits): Promise<void> {
  const made = new Set<string>()
  const makeFolder = async (folder: string): Promise<void> => {
    if (made.has(folder)) return
    await mkdir(folder, { recursive: true })
    made.add(folder)
  }
  await makeFolder(target)
  await visitZip(path, limits, async (entry, open) => {
    const at = join(target, entry.path)
    if (entry.type === 'directory') {
      await makeFolder(at)
      await chmod(at, entry.mode | 0o700)
      return
    }
    await makeFolder(dirname(at))
    await rm(at, { force: true })
    if (entry.type === 'link') await symlink(entry.linkTarget ?? '', at)
    else await pipeline(await open(), createWriteStream(at, { flags: 'wx', mode: entry.mode }))
  })
}
