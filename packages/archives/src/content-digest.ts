import { createHash } from 'node:crypto'
import type { ArchiveLimits } from './limits.js'
import { visitZip } from './zip-entries.js'

/**
 * SHA-256 (hex) of what a zip archive holds: names, modes, link targets and content of its entries. The same for every archive of the same
 * files, in whatever order, with whatever dates and compression.
 */
export async function contentDigest(path: string, limits: ArchiveLimits): Promise<string> {
  const lines: string[] = []
  await visitZip(path, limits, async (entry, open) => {
    if (entry.type === 'directory') return void lines.push(`directory\0${entry.path}`)
    if (entry.type === 'link') return void lines.push(`link\0${entry.path}\0${entry.linkTarget ?? ''}`)
    const hash = createHash('sha256')
    for await (const chunk of (await open()) as AsyncIterable<Buffer>) hash.update(chunk)
    lines.push(`file\0${entry.path}\0${entry.mode.toString(8)}\0${hash.digest('hex')}`)
  })
  // Archives may name a folder or leave it to its files to tell of it.
  const parents = new Set(lines.flatMap((line) => foldersAbove(line.split('\0')[1] ?? '')))
  const said = lines.filter((line) => !line.startsWith('directory\0') || !parents.has(line.slice('directory\0'.length)))
  return createHash('sha256').update(said.sort().join('\n')).digest('hex')
}

function foldersAbove(path: string): string[] {
  const parts = path.split('/')
  return parts.slice(1).map((_part, i) => parts.slice(0, i + 1).join('/'))
}
