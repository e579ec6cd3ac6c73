import { link, lutimes, mkdir, open, rm, symlink, chmod, lchown } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import tar from 'tar-stream'
import { ArchiveError } from './archive-error.js'
import { checkLinkTarget, LinkGuard, safePath } from './entry-paths.js'
import { type ArchiveLimits, LimitCounter } from './limits.js'

export interface ExtractTarOptions {
  readonly limits: ArchiveLimits
  /** Owner of everything; only root may set it. */
  readonly owner?: { readonly uid: number; readonly gid: number }
  /**
   * `inside`: symbolic links must stay within the folder. `any`: they may point anywhere, as those of a droplet do (what they mean is
   * decided in the container). Nothing is ever written through a link.
   */
  readonly links: 'inside' | 'any'
  readonly signal?: AbortSignal
}

type Header = tar.Header

/** Unpacks a tar stream, gzipped or not, into a new or empty folder; permission bits, links and times are kept. */
export async function extractTar(source: Readable, target: string, options: ExtractTarOptions): Promise<void> {
  const counter = new LimitCounter(options.limits)
  const extract = tar.extract()
  // Its failure reaches us through the iteration; an unheard 'error' would end the process.
  extract.on('error', () => undefined)
  let packedBytes = 0
  const count = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      packedBytes += chunk.length
      done(null, chunk)
    },
  })
  await mkdir(target, { recursive: true })
  const writer = new TreeWriter(target, options)
  const consume = async (): Promise<void> => {
    for await (const entry of extract) {
      const { header } = entry
      counter.addEntry()
      if (header.type === 'file' || header.type === 'contiguous-file') counter.addBytes(header.size)
      await writer.write(header, entry as unknown as AsyncIterable<Buffer>)
      // Only now: an entry is announced before the bytes that it was packed in have been read.
      counter.checkRatio(packedBytes)
      entry.resume()
    }
    await writer.finish()
  }
  const feed = async (unpacked: AsyncIterable<Buffer>): Promise<void> => {
    for await (const chunk of unpacked) {
      if (extract.destroyed) return
      if (!extract.write(chunk))
        await new Promise<void>((resolve) => {
          // Each takes the other with it: a large archive waits thousands of times.
          const go = (): void => {
            extract.off('drain', go)
            extract.off('close', go)
            resolve()
          }
          extract.on('drain', go)
          extract.on('close', go)
        })
    }
    extract.end(null)
  }
  const stopped = (error: unknown): never => {
    extract.destroy(error instanceof Error ? error : new Error(String(error)))
    throw error
  }
  const signal = options.signal ?? new AbortController().signal
  const feeding = pipeline(source, count, maybeGunzip(), feed, { signal }).catch(stopped)
  try {
    await Promise.all([feeding, consume().catch(stopped)])
  } catch (error) {
    source.destroy()
    await feeding.catch(() => undefined)
    if (error instanceof ArchiveError) throw error
    if (isFormatError(error))
      throw new ArchiveError('malformed', `The file is not a valid tar archive: ${error.message}`, { cause: error })
    throw error
  }
}

class TreeWriter {
  readonly #guard = new LinkGuard()
  readonly #made = new Set<string>()
  readonly #folders: { path: string; mode: number; mtime: Date }[] = []
  constructor(
    readonly target: string,
    readonly options: ExtractTarOptions,
  ) {
    this.#made.add(target)
  }

  async write(header: Header, body: AsyncIterable<Buffer>): Promise<void> {
    const path = safePath(header.name)
    const mode = header.mode & 0o777
    const mtime = header.mtime
    if (path === '') return
    this.#guard.add(path, header.type === 'symlink')
    const at = join(this.target, path)
    switch (header.type) {
      case 'directory':
        await this.#folder(at)
        this.#folders.push({ path: at, mode, mtime })
        return
      case 'file':
      case 'contiguous-file':
        await this.#replace(at)
        await this.#file(at, body, mode, mtime)
        return
      case 'symlink':
        if (this.options.links === 'inside') checkLinkTarget(path, header.linkname)
        await this.#replace(at)
        await symlink(header.linkname, at)
        await lutimes(at, mtime, mtime)
        await this.#own(at)
        return
      case 'link': {
        const existing = safePath(header.linkname)
        // Checked like an entry: neither it nor a folder above it may be a link.
        this.#guard.add(existing, false)
        await this.#replace(at)
        await link(join(this.target, existing), at)
        return
      }
      default:
        throw new ArchiveError('unsafe', `The entry '${path}' is a ${header.type}, which is not allowed.`)
    }
  }

  /** Folders get their modes last: one without write permission would keep its own content out. */
  async finish(): Promise<void> {
    for (const { path, mode, mtime } of this.#folders.reverse()) {
      await chmod(path, mode)
      await lutimes(path, mtime, mtime)
    }
  }

  async #file(at: string, body: AsyncIterable<Buffer>, mode: number, mtime: Date): Promise<void> {
    const handle = await open(at, 'wx', 0o600)
    try {
      for await (const chunk of body) await handle.write(chunk)
      if (this.options.owner) await handle.chown(this.options.owner.uid, this.options.owner.gid)
      await handle.chmod(mode)
      await handle.utimes(mtime, mtime)
    } finally {
      await handle.close()
    }
  }

  async #folder(at: string): Promise<void> {
    if (this.#made.has(at)) return
    await this.#folder(dirname(at))
    await mkdir(at, { recursive: true })
    await this.#own(at)
    this.#made.add(at)
  }

  async #replace(at: string): Promise<void> {
    await this.#folder(dirname(at))
    if (this.#made.has(at))
      throw new ArchiveError('malformed', `'${at.slice(this.target.length + 1)}' is a folder and something else too.`)
    await rm(at, { force: true })
  }

  async #own(at: string): Promise<void> {
    if (this.options.owner) await lchown(at, this.options.owner.uid, this.options.owner.gid)
  }
}

/** Unzips if the stream begins as gzip does; several members one after another are read as one. */
function maybeGunzip(): (source: AsyncIterable<Buffer>) => AsyncIterable<Buffer> {
  return async function* (source) {
    const iterator = source[Symbol.asyncIterator]() as AsyncIterator<Buffer, undefined>
    let head = Buffer.alloc(0)
    let ended = false
    while (head.length < 2 && !ended) {
      const next = await iterator.next()
      if (next.done === true) ended = true
      else head = Buffer.concat([head, next.value])
    }
    async function* all(): AsyncIterable<Buffer> {
      if (head.length > 0) yield head
      while (!ended) {
        const next = await iterator.next()
        if (next.done === true) return
        yield next.value
      }
    }
    if (head[0] !== 0x1f || head[1] !== 0x8b) {
      yield* all()
      return
    }
    const gunzip = createGunzip({ chunkSize: 256 * 1024 })
    const feeding = pipeline(all(), gunzip)
    feeding.catch(() => undefined)
    yield* gunzip as AsyncIterable<Buffer>
    await feeding
  }
}

const isFormatError = (error: unknown): error is Error => {
  if (typeof error !== 'object' || error === null || !('message' in error)) return false
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  return code.startsWith('Z_') || code === '' || code === 'ERR_STREAM_PREMATURE_CLOSE'
}
