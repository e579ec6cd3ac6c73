import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { Readable } from 'node:stream'
import { ZipFile } from 'yazl'
import type { CloudClient } from './cloud-client.js'
import { ClientError } from './errors.js'
import type { Package } from './resources.js'
import { sha1OfFile, type Source, type SourceEntry } from './source-files.js'

/** A file as the resource cache knows it. */
export interface MatchedResource {
  readonly path: string
  readonly mode: string
  readonly checksum: { readonly value: string }
  readonly size_in_bytes: number
}

export interface UploadReport {
  readonly files: number
  /** Files that the server already has. */
  readonly matched: number
  readonly bytesToSend: number
}

const MATCH_AT_ONCE = 5_000
const HASH_AT_ONCE = 8
/** A fixed time, so that the same source makes the same archive. */
const ENTRY_TIME = new Date('2020-01-01T00:00:00Z')

export interface UploadOptions {
  /** Told once, before the first byte is sent. */
  readonly onReport?: (report: UploadReport) => void
  /** Told of each piece sent: the bytes so far. */
  readonly onSent?: (bytes: number) => void
}

/** Uploads a folder, sending only what the server lacks, or an archive as it is; resolves once the package is ready. */
export async function uploadPackage(
  client: CloudClient,
  packageGuid: string,
  source: Source,
  options: UploadOptions = {},
): Promise<Package> {
  if (source.kind === 'archive') {
    options.onReport?.({ files: 1, matched: 0, bytesToSend: source.size })
    return upload(client, packageGuid, [], createReadStream(source.path), options)
  }
  const { entries } = source
  const matched = await matchResources(client, entries)
  const known = new Set(matched.map(({ path }) => path))
  const missing = entries.filter((entry) => !known.has(entry.path))
  const files = entries.filter(({ kind }) => kind === 'file').length
  const bytesToSend = missing.reduce((sum, entry) => sum + (entry.kind === 'file' ? entry.size : 0), 0)
  options.onReport?.({ files, matched: matched.length, bytesToSend })
  return upload(client, packageGuid, matched, missing.length > 0 ? zipOf(missing) : undefined, options)
}

async function matchResources(client: CloudClient, entries: readonly SourceEntry[]): Promise<MatchedResource[]> {
  const candidates = entries.filter((entry) => entry.kind === 'file').filter(({ size }) => size > 0)
  const matched: MatchedResource[] = []
  for (let i = 0; i < candidates.length; i += MATCH_AT_ONCE) {
    const resources: MatchedResource[] = []
    const portion = candidates.slice(i, i + MATCH_AT_ONCE)
    for (let j = 0; j < portion.length; j += HASH_AT_ONCE) {
      const hashed = portion.slice(j, j + HASH_AT_ONCE).map(async ({ path, absolute, mode, size }) => ({
        path,
        mode: mode.toString(8),
        checksum: { value: await sha1OfFile(absolute) },
        size_in_bytes: size,
      }))
      resources.push(...(await Promise.all(hashed)))
    }
    const answer = await client.post<{ resources: MatchedResource[] }>('/v3/resource_matches', { resources })
    matched.push(...answer.resources)
  }
  return matched
}

/** A zip that is written while it is read: memory stays flat whatever the size of the source. */
export function zipOf(entries: readonly SourceEntry[]): Readable {
  const zip = new ZipFile()
  const output = zip.outputStream as Readable
  // A file that vanishes or cannot be read must end the upload, not truncate it.
  zip.on('error', (error: Error) => output.destroy(error))
  // Whoever reads sees it, even when that begins later; nobody may be reading yet.
  output.on('error', () => undefined)
  for (const entry of entries) {
    const options = { mtime: ENTRY_TIME, forceZip64Format: false }
    if (entry.kind === 'file') zip.addFile(entry.absolute, entry.path, { ...options, mode: 0o100000 | entry.mode })
    else if (entry.kind === 'link')
      zip.addBuffer(Buffer.from(entry.target), entry.path, { ...options, mode: 0o120777, compress: false })
    else zip.addEmptyDirectory(entry.path, { mtime: ENTRY_TIME, mode: 0o040000 | entry.mode })
  }
  zip.end()
  return output
}

async function upload(
  client: CloudClient,
  packageGuid: string,
  resources: readonly MatchedResource[],
  bits: Readable | undefined,
  { onSent }: UploadOptions,
): Promise<Package> {
  const boundary = `bloomery-${randomUUID()}`
  const body = Readable.from(multipart(boundary, resources, bits, onSent ?? (() => undefined)), { objectMode: false })
  let uploaded: Package
  try {
    uploaded = await client.post<Package>(`/v3/packages/${packageGuid}/upload`, undefined, {
      body,
      headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
    })
  } finally {
    body.destroy()
    bits?.destroy()
  }
  const settled = ({ state }: Package): boolean => state === 'READY' || state === 'FAILED' || state === 'EXPIRED'
  const ready = settled(uploaded)
    ? uploaded
    : await client.poll<Package>(`/v3/packages/${packageGuid}`, settled, { what: 'the upload to be processed' })
  if (ready.state === 'READY') return ready
  throw new ClientError(
    'bad-source',
    `The upload could not be processed: ${ready.data?.error ?? `it is ${ready.state.toLowerCase()}`}.`,
  )
}

async function* multipart(
  boundary: string,
  resources: readonly MatchedResource[],
  bits: Readable | undefined,
  onSent: (bytes: number) => void,
): AsyncGenerator<Buffer> {
  yield Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="resources"\r\n\r\n${JSON.stringify(resources)}\r\n`)
  if (bits) {
    yield Buffer.from(
      `--${boundary}\r\nContent-Disposition: form-data; name="bits"; filename="package.zip"\r\nContent-Type: application/octet-stream\r\n\r\n`,
    )
    let sent = 0
    try {
      for await (const chunk of bits as AsyncIterable<Buffer>) {
        yield chunk
        onSent((sent += chunk.length))
      }
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      throw new ClientError('bad-source', `The app's files changed or could not be read while they were sent: ${reason}`, {
        cause: error,
      })
    }
    yield Buffer.from('\r\n')
  }
  yield Buffer.from(`--${boundary}--\r\n`)
}
