import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { type Readable, Transform, type TransformCallback } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import yazl from 'yazl'
import { ArchiveError } from './archive-error.js'
import { safePath } from './entry-paths.js'
import { type ArchiveLimits, LimitCounter, PACKAGE_LIMITS } from './limits.js'
import { listZip, visitZip, type ZipEntry } from './zip-entries.js'

/** A file that the client did not send because the platform has it already. */
export interface MatchedEntry {
  readonly path: string
  readonly mode: number
  readonly sha1: string
  readonly sha256: string
  readonly size: number
}

/**
 * Makes an app's package, a plain zip archive, of what was uploaded and of the files known before. Without known files the upload
 * is checked and taken as it is; with them its entries come first and win over a known file of the same path.
 * `openFile` reads a known file; bytes that do not have its SHA-256 fail the whole. Returns the package's entries.
 */
export async function assemblePackage(options: {
  readonly zipPath?: string
  readonly matched: readonly MatchedEntry[]
  readonly openFile: (file: MatchedEntry) => Promise<Readable>
  /** Path of the archive to write. */
  readonly output: string
  readonly limits?: ArchiveLimits
}): Promise<ZipEntry[]> {
  const limits = options.limits ?? PACKAGE_LIMITS
  const { zipPath, output } = options
  const uploaded = zipPath === undefined ? [] : await listZip(zipPath, limits)
  const added = checkMatched(options.matched, uploaded, limits)
  if (added.length === 0 && zipPath !== undefined) {
    await copyFile(zipPath, output)
    return uploaded
  }
  const archive = new yazl.ZipFile()
  const written = pipeline(archive.outputStream, createWriteStream(output))
  const failed = new Promise<never>((_resolve, reject) => archive.on('error', reject))
  const feed = async (): Promise<void> => {
    if (zipPath !== undefined) await visitZip(zipPath, limits, (entry, open) => addUploaded(archive, entry, open))
    for (const file of added) await addStream(archive, file, 0o100000 | file.mode, await verified(file, options.openFile))
    archive.end()
    await written
  }
  await Promise.race([feed(), failed, written])
  await written
  return [...uploaded, ...added.map(toEntry)]
}

const toEntry = ({ path, mode, size }: MatchedEntry): ZipEntry => ({
  path,
  type: 'file',
  mode,
  sizeBytes: size,
  modifiedAt: new Date(0),
})

function checkMatched(matched: readonly MatchedEntry[], uploaded: readonly ZipEntry[], limits: ArchiveLimits): MatchedEntry[] {
  const counter = new LimitCounter(limits)
  const taken = new Map(uploaded.map((entry) => [entry.path, entry.type]))
  for (const entry of uploaded) {
    counter.addEntry()
    counter.addBytes(entry.sizeBytes)
  }
  const added: MatchedEntry[] = []
  for (const file of matched) {
    const path = safePath(file.path)
    if (path === '') throw new ArchiveError('unsafe', `The resource '${file.path}' has no name.`)
    if (taken.has(path)) continue
    for (let parent = parentOf(path); parent !== undefined; parent = parentOf(parent)) {
      const type = taken.get(parent)
      if (type !== undefined && type !== 'directory')
        throw new ArchiveError('unsafe', `The resource '${path}' lies beneath '${parent}', which is no folder.`)
    }
    counter.addEntry()
    counter.addBytes(file.size)
    taken.set(path, 'file')
    added.push({ ...file, path, mode: file.mode & 0o777 || 0o644 })
  }
  return added
}

function parentOf(path: string): string | undefined {
  const at = path.lastIndexOf('/')
  return at < 0 ? undefined : path.slice(0, at)
}

async function addUploaded(archive: yazl.ZipFile, entry: ZipEntry, open: () => Promise<Readable>): Promise<void> {
  const options = { mtime: entry.modifiedAt }
  if (entry.type === 'directory') archive.addEmptyDirectory(entry.path, { ...options, mode: 0o040000 | entry.mode })
  else if (entry.type === 'link')
    archive.addBuffer(Buffer.from(entry.linkTarget ?? ''), entry.path, {
      ...options,
      mode: 0o120000 | entry.mode,
      compress: false,
    })
  else await addStream(archive, entry, 0o100000 | entry.mode, await open(), entry.modifiedAt)
}

/** One after another, so that no more than one file is open. */
function addStream(
  archive: yazl.ZipFile,
  { path }: { path: string },
  mode: number,
  body: Readable,
  mtime: Date = new Date(),
): Promise<void> {
  return new Promise((resolve, reject) => {
    body.once('end', resolve)
    body.once('error', reject)
    // Large files of an app are mostly packed already; what is not was worth a little time, not much.
    archive.addReadStream(body, path, { mode, mtime, compressionLevel: 1 })
  })
}

async function verified(file: MatchedEntry, openFile: (file: MatchedEntry) => Promise<Readable>): Promise<Readable> {
  const hash = createHash('sha256')
  const check = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk)
      done(null, chunk)
    },
    flush(done: TransformCallback) {
      if (hash.digest('hex') === file.sha256) done()
      else done(new ArchiveError('malformed', `The known file for '${file.path}' is damaged; push again with that file touched.`))
    },
  })
  const source = await openFile(file)
  source.once('error', (error) => check.destroy(error))
  return source.pipe(check)
}
