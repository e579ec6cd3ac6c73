import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import yauzl, { type Entry, type ZipFile } from 'yauzl'
import { ArchiveError } from './archive-error.js'
import { checkLinkTarget, LinkGuard, safePath } from './entry-paths.js'
import { type ArchiveLimits, LimitCounter } from './limits.js'

/** One entry of a zip archive, checked. */
export interface ZipEntry {
  /** Relative, without a trailing slash. */
  readonly path: string
  readonly type: 'file' | 'directory' | 'link'
  /** Permission bits only. */
  readonly mode: number
  readonly sizeBytes: number
  readonly modifiedAt: Date
  /** Where a link points. */
  readonly linkTarget?: string
}

const S_IFMT = 0o170000
const TYPES: Readonly<Record<number, ZipEntry['type']>> = { 0o100000: 'file', 0o040000: 'directory', 0o120000: 'link' }
const MAX_LINK_BYTES = 4096

/**
 * Reads a zip archive from its central directory, so that streamed archives (sizes in data descriptors) are read right.
 * Every entry is checked before any is visited: names, links, types, number, sizes. While reading, an entry that inflates to
 * another size than announced fails.
 */
export async function visitZip(
  path: string,
  limits: ArchiveLimits,
  visit: (entry: ZipEntry, open: () => Promise<Readable>) => Promise<void>,
): Promise<void> {
  const zip = await openZip(path)
  try {
    const checked = await checkEntries(zip, limits)
    for (const { entry, raw } of checked) {
      let damage: Error | undefined
      const open = async (): Promise<Readable> => (await openEntry(zip, raw)).once('error', (error: Error) => (damage = error))
      await visit(entry, open).catch((error: unknown) => {
        throw damage !== undefined && error === damage ? malformed(damage) : error
      })
    }
  } finally {
    zip.close()
  }
}

/** The checked entries of a zip archive, without reading any content but that of links. */
export async function listZip(path: string, limits: ArchiveLimits): Promise<ZipEntry[]> {
  const zip = await openZip(path)
  try {
    return (await checkEntries(zip, limits)).map(({ entry }) => entry)
  } finally {
    zip.close()
  }
}

async function checkEntries(zip: ZipFile, limits: ArchiveLimits): Promise<{ entry: ZipEntry; raw: Entry }[]> {
  const counter = new LimitCounter(limits)
  const guard = new LinkGuard()
  const checked: { entry: ZipEntry; raw: Entry }[] = []
  let packedBytes = 0
  for await (const raw of entriesOf(zip)) {
    counter.addEntry()
    counter.addBytes(raw.uncompressedSize)
    packedBytes += raw.compressedSize
    const entry = await toEntry(zip, raw)
    if (entry.path === '') continue
    guard.add(entry.path, entry.type === 'link')
    checked.push({ entry, raw })
  }
  counter.checkRatio(packedBytes)
  return checked
}

async function toEntry(zip: ZipFile, raw: Entry): Promise<ZipEntry> {
  const path = safePath(raw.fileName)
  if ((raw.generalPurposeBitFlag & 1) !== 0)
    throw new ArchiveError('malformed', `The entry '${path}' is encrypted; upload an archive without a password.`)
  if (raw.compressionMethod !== 0 && raw.compressionMethod !== 8)
    throw new ArchiveError('malformed', `The entry '${path}' is compressed by a method other than deflate.`)
  const { type, mode } = typeAndMode(raw, path)
  const common = { path, type, mode, sizeBytes: raw.uncompressedSize, modifiedAt: raw.getLastModDate() }
  if (type !== 'link') return common
  if (raw.uncompressedSize > MAX_LINK_BYTES) throw new ArchiveError('unsafe', `The link '${path}' has too long a target.`)
  const linkTarget = (await buffer(await openEntry(zip, raw))).toString('utf8')
  checkLinkTarget(path, linkTarget)
  return { ...common, linkTarget }
}

/** Unix modes stand in the upper half of the external attributes; archives made on other systems have none. */
function typeAndMode(raw: Entry, path: string): { type: ZipEntry['type']; mode: number } {
  const unix = raw.externalFileAttributes >>> 16
  const isFolder = raw.fileName.endsWith('/')
  const told = (unix & S_IFMT) === 0 ? (isFolder ? 'directory' : 'file') : TYPES[unix & S_IFMT]
  if (told === undefined)
    throw new ArchiveError('unsafe', `The entry '${path}' is neither a file nor a folder nor a link (a device, pipe or socket).`)
  // The cf client gives folders the type of a plain file; the slash at their end tells what they are.
  const type = isFolder && told === 'file' && raw.uncompressedSize === 0 ? 'directory' : told
  if (isFolder !== (type === 'directory'))
    throw new ArchiveError('malformed', `The entry '${path}' contradicts itself about being a folder.`)
  const bits = unix & 0o777
  return { type, mode: bits === 0 ? (type === 'directory' ? 0o755 : 0o644) : bits }
}

const malformed = (error: Error): ArchiveError =>
  // yauzl refuses some names by itself; to our callers that is the same as our own refusal.
  /^(absolute path|invalid relative path|invalid characters in fileName)/.test(error.message)
    ? new ArchiveError('unsafe', `The archive holds a name that leads out of it: ${error.message}`, { cause: error })
    : new ArchiveError('malformed', `The file is not a valid zip archive: ${error.message}`, { cause: error })

function openZip(path: string): Promise<ZipFile> {
  return new Promise((resolve, reject) => {
    yauzl.open(path, { lazyEntries: true, autoClose: false, validateEntrySizes: true }, (error, zip) => {
      if (!error) resolve(zip)
      else reject('code' in error ? error : malformed(error))
    })
  })
}

async function* entriesOf(zip: ZipFile): AsyncIterable<Entry> {
  const next = (): Promise<Entry | undefined> =>
    new Promise((resolve, reject) => {
      const settle = (work: () => void) => () => {
        zip.removeAllListeners('entry').removeAllListeners('end').removeAllListeners('error')
        work()
      }
      zip.once('entry', (entry: Entry) => settle(() => resolve(entry))())
      zip.once(
        'end',
        settle(() => resolve(undefined)),
      )
      zip.once('error', (error: Error) => settle(() => reject(malformed(error)))())
      zip.readEntry()
    })
  for (let seen = 0; seen < zip.entryCount; seen += 1) {
    const entry = await next()
    if (!entry) return
    yield entry
  }
}

function openEntry(zip: ZipFile, raw: Entry): Promise<Readable> {
  return new Promise((resolve, reject) => {
    zip.openReadStream(raw, (error, stream) => {
      if (error) reject(malformed(error))
      else resolve(stream)
    })
  })
}
