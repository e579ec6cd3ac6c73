import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { lstat, readdir, readFile, readlink, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import ignore, { type Ignore } from 'ignore'
import { ClientError } from './errors.js'

/** One entry of an app's source folder. */
export type SourceEntry =
  | { readonly kind: 'file'; readonly path: string; readonly absolute: string; readonly mode: number; readonly size: number }
  | { readonly kind: 'folder'; readonly path: string; readonly mode: number }
  | { readonly kind: 'link'; readonly path: string; readonly target: string }

/** What cf never uploads. */
const ALWAYS_IGNORED = ['.cfignore', '.DS_Store', '.git', '.gitignore', '.hg', '.svn', '_darcs', 'manifest.yml', 'manifest.yaml']

/** What a push takes its files from: a folder, or an archive that is sent as it is. */
export type Source =
  | { readonly kind: 'archive'; readonly path: string; readonly size: number }
  | { readonly kind: 'folder'; readonly path: string; readonly entries: readonly SourceEntry[] }

/** Looks at a source without reading its files' contents; what cannot be pushed is refused here, before anything is sent. */
export async function openSource(path: string): Promise<Source> {
  const found = await stat(path).catch((error: unknown) => {
    throw new ClientError(
      'bad-source',
      `The path ${path} does not exist or cannot be read. Name the app's folder or archive with -p.`,
      {
        cause: error,
      },
    )
  })
  if (found.isDirectory()) return { kind: 'folder', path, entries: await listSource(path) }
  if (!found.isFile()) throw new ClientError('bad-source', `${path} is neither a folder nor an archive.`)
  if (found.size === 0) throw new ClientError('bad-source', `${path} is empty; an archive of the app's files is needed.`)
  return { kind: 'archive', path, size: found.size }
}

/** What a push of the folder uploads, sorted by path; `.cfignore` in it is read as git reads its own. */
export async function listSource(folder: string): Promise<SourceEntry[]> {
  const rules = ignore({ ignorecase: false })
    .add(ALWAYS_IGNORED)
    .add(await readIgnoreFile(join(folder, '.cfignore')))
  const entries: SourceEntry[] = []
  try {
    await walk(folder, '', rules, entries)
  } catch (error) {
    if (error instanceof ClientError) throw error
    const reason = error instanceof Error ? error.message : String(error)
    throw new ClientError('bad-source', `The app's files cannot be read: ${reason}. Correct that, or name it in .cfignore.`, {
      cause: error,
    })
  }
  if (entries.length === 0)
    throw new ClientError('bad-source', `There is nothing to push in ${folder}: it is empty, or all of it is ignored.`)
  return entries
}

async function walk(root: string, below: string, rules: Ignore, entries: SourceEntry[]): Promise<void> {
  const children = await readdir(join(root, below), { withFileTypes: true })
  for (const child of children.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = below === '' ? child.name : `${below}/${child.name}`
    if (rules.ignores(child.isDirectory() ? `${path}/` : path)) continue
    const absolute = join(root, path)
    if (child.isSymbolicLink()) entries.push({ kind: 'link', path, target: await readlink(absolute) })
    else if (child.isDirectory()) {
      entries.push({ kind: 'folder', path, mode: (await lstat(absolute)).mode & 0o777 })
      await walk(root, path, rules, entries)
    } else if (child.isFile()) {
      const { mode, size } = await lstat(absolute)
      entries.push({ kind: 'file', path, absolute, mode: mode & 0o777, size })
    } else throw new ClientError('bad-source', `${absolute} is neither file, folder nor link. Remove it or name it in .cfignore.`)
  }
}

async function readIgnoreFile(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (typeof error === 'object' && error !== null && 'code' in error && error.code === 'ENOENT') return ''
    throw error
  }
}

/** SHA-1 in hex, the key of CF's resource cache; read as a stream. */
export async function sha1OfFile(path: string): Promise<string> {
  const hash = createHash('sha1')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}
