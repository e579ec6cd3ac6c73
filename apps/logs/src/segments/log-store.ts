import { readdir, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { LogLine } from '@bloomery/contracts'
import { type Logger } from '@bloomery/telemetry'
import { encodeLine, type LogCacheEnvelope, presentLine } from '../log-cache/envelope.js'
import type { StoredLine } from './group.js'
import { readSegment, type Segment, type Span } from './segment.js'
import { isErrno, type SourceBounds, SourceLog, type SourceMeta } from './source-log.js'

export interface LogStoreOptions {
  readonly folder: string
  readonly bounds: SourceBounds
  readonly logger: Logger
  /** Apps whose index is kept in memory; default 2000. */
  readonly maxLoaded?: number
  /** Files kept open for appending; default 256. */
  readonly maxOpenFiles?: number
  /** Milliseconds since the epoch. */
  readonly now?: () => number
}

/** A batch as it was sent, by whom its certificate says. */
export interface Delivery {
  readonly sender: bigint
  readonly sequence: number
  readonly lines: readonly LogLine[]
}

export interface LogQuery extends Span {
  readonly limit: number
  readonly descending: boolean
}

interface Loaded {
  /** Operations on one app run one after the other. */
  tail: Promise<unknown>
  pending: number
  log: SourceLog | undefined
}

/** How far somebody has read an app's log, who wants to know what was given up before that. */
export interface Follower {
  /** Timestamp of the last line read. */
  position: bigint
  /** Lines given up before they were read. */
  lost: number
}

/** An app's guid, or another name that is safe as a folder's. */
export const isSourceId = (id: string): boolean => /^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/.test(id)

/** Every app's log, in a folder each. Holds the indexes of the apps used last and, of fewer, an open file. */
export class LogStore {
  private readonly loaded = new Map<string, Loaded>()
  private readonly open = new Set<string>()
  /** Lines per app that the disk had no room for. */
  private readonly dropped = new Map<string, number>()
  /** Who waits for an app's next line. */
  private readonly waiting = new Map<string, Set<() => void>>()
  private readonly followers = new Map<string, Set<Follower>>()
  private readonly maxLoaded: number
  private readonly maxOpenFiles: number
  private readonly now: () => number
  private diskFull = false
  private closed = false

  constructor(private readonly options: LogStoreOptions) {
    this.maxLoaded = options.maxLoaded ?? 2_000
    this.maxOpenFiles = options.maxOpenFiles ?? 256
    this.now = options.now ?? Date.now
  }

  /**
   * Appends a batch, app by app. Rejects when it should be sent again; what was appended by then is recognised. On a full disk it
   * drops the lines instead, and says how many in the app's log once there is room.
   */
  async append({ sender, sequence, lines }: Delivery): Promise<void> {
    const bySource = new Map<string, LogLine[]>()
    for (const line of lines) {
      if (!isSourceId(line.sourceId)) continue
      const present = bySource.get(line.sourceId)
      if (present) present.push(line)
      else bySource.set(line.sourceId, [line])
    }
    for (const [sourceId, own] of bySource) await this.appendTo(sourceId, sender, sequence, own)
  }

  async read(sourceId: string, query: LogQuery): Promise<LogCacheEnvelope[]> {
    const lines = await this.using(sourceId, (log) => log.read(query, query.limit, query.descending))
    return lines.map((line) => presentLine(sourceId, line))
  }

  /** As `read`; where there is nothing yet, answers as soon as a line comes, or with nothing after `waitMs`. */
  readOrWait(sourceId: string, query: LogQuery, waitMs: number, signal: AbortSignal): Promise<LogCacheEnvelope[]> {
    return this.untilFound(sourceId, waitMs, signal, () => this.read(sourceId, query))
  }

  /** Where a follower of this app begins that wants nothing of the past. */
  newestOf(sourceId: string): Promise<bigint> {
    return this.using(sourceId, (log) => Promise.resolve(log.newestTimestamp))
  }

  /** From now on lines that are given up before this follower read them are counted. */
  addFollower(sourceId: string, follower: Follower): void {
    const present = this.followers.get(sourceId)
    if (present) present.add(follower)
    else this.followers.set(sourceId, new Set([follower]))
  }

  removeFollower(sourceId: string, follower: Follower): void {
    const present = this.followers.get(sourceId)
    present?.delete(follower)
    if (present?.size === 0) this.followers.delete(sourceId)
  }

  /** The next lines for a follower, as `readOrWait`; its position is its own to move. */
  readNext(
    sourceId: string,
    follower: Follower,
    limits: { readonly lines: number; readonly bytes: number; readonly waitMs: number },
    signal: AbortSignal,
  ): Promise<StoredLine[]> {
    return this.untilFound(sourceId, limits.waitMs, signal, () =>
      this.using(sourceId, (log) =>
        log.read({ start: follower.position + 1n, end: END_OF_TIME }, limits.lines, false, limits.bytes),
      ),
    )
  }

  private async untilFound<T>(sourceId: string, waitMs: number, signal: AbortSignal, read: () => Promise<T[]>): Promise<T[]> {
    const deadline = performance.now() + waitMs
    for (;;) {
      // Begins before the read, so that a line that comes in between is not slept over.
      const arrival = this.nextArrival(sourceId, Math.max(deadline - performance.now(), 0), signal)
      const found = await read()
      if (found.length > 0 || signal.aborted || this.closed || performance.now() >= deadline) {
        arrival.cancel()
        return found
      }
      await arrival.happened
    }
  }

  /** Of the sources asked for, those that have lines. */
  async meta(sourceIds?: readonly string[]): Promise<Map<string, SourceMeta>> {
    const all = new Map<string, SourceMeta>()
    for (const sourceId of sourceIds ?? (await this.sources())) {
      const meta = await this.using(sourceId, async (log) => log.meta())
      if (meta.count > 0) all.set(sourceId, meta)
    }
    return all
  }

  async forget(sourceId: string): Promise<void> {
    await this.using(sourceId, (log) => log.delete())
    this.dropped.delete(sourceId)
    this.open.delete(sourceId)
  }

  /** Forgets the apps that nothing was written for since then. */
  async forgetSilentSince(timeMs: number): Promise<number> {
    let forgotten = 0
    for (const sourceId of await this.sources()) {
      const { newest } = await this.using(sourceId, async (log) => log.meta())
      if (newest !== undefined && newest >= BigInt(timeMs) * 1_000_000n) continue
      await this.forget(sourceId)
      forgotten++
    }
    return forgotten
  }

  async close(): Promise<void> {
    this.closed = true
    for (const waiting of this.waiting.values()) for (const wake of waiting) wake()
    await Promise.all([...this.loaded.keys()].map((sourceId) => this.using(sourceId, (log) => log.closeFile())))
    this.loaded.clear()
    this.open.clear()
  }

  private async sources(): Promise<string[]> {
    const names = await readdir(this.options.folder, { withFileTypes: true }).catch((error: unknown) => {
      if (isErrno(error, 'ENOENT')) return []
      throw error
    })
    return names.filter((entry) => entry.isDirectory() && isSourceId(entry.name)).map(({ name }) => name)
  }

  private async appendTo(sourceId: string, sender: bigint, sequence: number, lines: readonly LogLine[]): Promise<void> {
    const missing = this.dropped.get(sourceId)
    const stored = [...(missing ? [this.droppedLine(sourceId, missing)] : []), ...lines].map((line) => ({
      timestamp: parseTimestamp(line.timestamp),
      body: encodeLine(line),
    }))
    await this.using(sourceId, async (log) => {
      if (log.has(sender, sequence)) return
      try {
        await log.append(sender, sequence, stored, BigInt(this.now()) * 1_000_000n)
        if (missing) this.dropped.delete(sourceId)
        this.noteRoom()
      } catch (error) {
        if (!isErrno(error, 'ENOSPC', 'EDQUOT')) throw error
        this.dropped.set(sourceId, (missing ?? 0) + lines.length)
        await this.noteDiskFull(error)
      }
    })
    for (const wake of this.waiting.get(sourceId) ?? []) wake()
    await this.limitOpenFiles(sourceId)
  }

  private nextArrival(sourceId: string, timeoutMs: number, signal: AbortSignal): { happened: Promise<void>; cancel: () => void } {
    let cancel: () => void = () => undefined
    const happened = new Promise<void>((resolve) => {
      const waiting = this.waiting.get(sourceId) ?? new Set()
      this.waiting.set(sourceId, waiting)
      cancel = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', cancel)
        waiting.delete(cancel)
        if (waiting.size === 0 && this.waiting.get(sourceId) === waiting) this.waiting.delete(sourceId)
        resolve()
      }
      const timer = setTimeout(cancel, timeoutMs)
      waiting.add(cancel)
      signal.addEventListener('abort', cancel)
    })
    return { happened, cancel }
  }

  /** Counts for each follower what it has not read of a segment that is given up. */
  private async noteLoss(sourceId: string, segment: Segment): Promise<void> {
    for (const follower of this.followers.get(sourceId) ?? []) {
      if (follower.position >= segment.last) continue
      const unread =
        follower.position < segment.first
          ? segment.lines
          : (await readSegment(segment, { start: follower.position + 1n, end: END_OF_TIME }, Infinity, false)).length
      follower.lost += unread
      follower.position = segment.last
    }
  }

  private droppedLine(sourceId: string, count: number): LogLine {
    const text = `${count} log ${count === 1 ? 'line was' : 'lines were'} lost: the log store's disk was full`
    const timestamp = String(BigInt(this.now()) * 1_000_000n)
    return { kind: 'log', sourceId, instanceId: '0', sourceType: 'LGR', stream: 'ERR', timestamp, text }
  }

  private async noteDiskFull(error: unknown): Promise<void> {
    if (this.diskFull) return
    this.diskFull = true
    const free = await statfs(this.options.folder).then(({ bavail, bsize }) => bavail * bsize)
    this.options.logger.error(
      { err: error, folder: this.options.folder, freeBytes: free },
      'disk full: log lines are dropped and counted',
    )
  }

  private noteRoom(): void {
    if (this.diskFull) this.options.logger.info({ apps: this.dropped.size }, 'the disk takes log lines again')
    this.diskFull = false
  }

  private async using<T>(sourceId: string, operation: (log: SourceLog) => Promise<T>): Promise<T> {
    if (!isSourceId(sourceId)) throw new RangeError(`not a source: ${sourceId}`)
    const entry = this.touch(sourceId)
    entry.pending++
    const result = entry.tail.then(async () => {
      entry.log ??= await SourceLog.open(join(this.options.folder, sourceId), this.options.bounds, (segment) =>
        this.noteLoss(sourceId, segment),
      )
      const { log } = entry
      return operation(log).catch(async (error: unknown) => {
        // What is in memory may differ from the disk now: read it anew next time.
        entry.log = undefined
        await log.closeFile()
        throw error
      })
    })
    entry.tail = result.catch(() => undefined)
    try {
      return await result
    } finally {
      entry.pending--
    }
  }

  /** Makes it the youngest, and lets the oldest idle ones go. */
  private touch(sourceId: string): Loaded {
    const entry = this.loaded.get(sourceId) ?? { tail: Promise.resolve(), pending: 0, log: undefined }
    this.loaded.delete(sourceId)
    this.loaded.set(sourceId, entry)
    if (this.loaded.size > this.maxLoaded) {
      for (const [id, candidate] of this.loaded) {
        if (candidate.pending > 0 || id === sourceId || this.open.has(id)) continue
        this.loaded.delete(id)
        break
      }
    }
    return entry
  }

  private async limitOpenFiles(sourceId: string): Promise<void> {
    this.open.delete(sourceId)
    this.open.add(sourceId)
    if (this.open.size <= this.maxOpenFiles) return
    const [oldest] = this.open
    if (oldest === undefined) return
    this.open.delete(oldest)
    await this.using(oldest, (log) => log.closeFile())
  }
}

const END_OF_TIME = 2n ** 63n - 1n

/** Whatever is no number counts as old, and is moved to just after the newest line. */
function parseTimestamp(text: string): bigint {
  return /^\d{1,19}$/.test(text) ? BigInt(text) : 0n
}
