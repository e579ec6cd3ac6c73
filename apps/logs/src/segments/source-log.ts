import { type FileHandle, mkdir, open, readdir, rename, rm, stat, truncate, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { encodeGroup, encodeMarks, type StoredLine } from './group.js'
import {
  noteGroup,
  parseSealedName,
  readSegment,
  scanSegment,
  sealedName,
  type Segment,
  segmentName,
  type Span,
} from './segment.js'

/** How much of one app's log is kept. */
export interface SourceBounds {
  readonly maxBytes: number
  readonly maxLines: number
}

export interface SourceMeta {
  readonly count: number
  /** Lines given up for newer ones since the store started. */
  readonly expired: number
  readonly oldest: bigint | undefined
  readonly newest: bigint | undefined
}

/** An eighth of the bounds: giving up the oldest segment leaves at least seven. */
const SEGMENTS = 8
const CLOCK_TOLERANCE_NS = 1_000_000_000n
/** Senders remembered per app; more only write for one app when cells come and go by the dozen. */
const MAX_MARKS = 256

/**
 * One app's log: sealed segments and an active one. Its methods must not run at the same time; LogStore sees to that.
 * Appended groups survive the death of the process at once and that of the machine once their segment is sealed and synced.
 */
export class SourceLog {
  private segments: Segment[] = []
  private active: Segment | undefined
  private file: FileHandle | undefined
  private marks = new Map<bigint, number>()
  private newest = 0n
  private expired = 0

  private constructor(
    private readonly folder: string,
    private readonly bounds: SourceBounds,
    private readonly onExpiry: (segment: Segment) => Promise<void>,
  ) {}

  /**
   * Reads what is there; a torn group at the end, never acknowledged, is cut off. `onExpiry` may read a segment that is about to be
   * given up for newer ones.
   */
  static async open(
    folder: string,
    bounds: SourceBounds,
    onExpiry: (segment: Segment) => Promise<void> = () => Promise.resolve(),
  ): Promise<SourceLog> {
    const log = new SourceLog(folder, bounds, onExpiry)
    const names = await readdir(folder).catch((error: unknown) => {
      if (isErrno(error, 'ENOENT')) return []
      throw error
    })
    for (const name of names.sort()) await log.load(name)
    log.segments.sort((a, b) => (a.first < b.first ? -1 : 1))
    const last = log.segments.at(-1)
    // Died between sealing a segment and opening the next, which would have carried the marks on.
    if (!log.active && last)
      for (const [sender, sequence] of (await scanSegment(last.path, last.first)).marks) log.mark(sender, sequence)
    log.newest = [...log.segments, ...(log.active ? [log.active] : [])].reduce((max, { last }) => (last > max ? last : max), 0n)
    return log
  }

  get isOpen(): boolean {
    return this.file !== undefined
  }

  /** True when that batch of that sender is here already. */
  has(sender: bigint, sequence: number): boolean {
    return sequence <= (this.marks.get(sender) ?? -1)
  }

  /**
   * Appends all lines or none. Timestamps become unique and rising, whoever sent them, so that a reader who continues after
   * the last one never misses a line: an older one is moved to just after the newest, one well ahead of our clock to now.
   */
  async append(sender: bigint, sequence: number, lines: readonly StoredLine[], now: bigint): Promise<void> {
    let newest = this.newest
    const stamped = lines.map(({ timestamp, body }) => {
      const wished = timestamp > now + CLOCK_TOLERANCE_NS ? now : timestamp
      newest = wished > newest ? wished : newest + 1n
      return { timestamp: newest, body }
    })
    const first = stamped[0]?.timestamp
    if (first === undefined) return
    const bytes = encodeGroup({ sender, sequence, lines: stamped })
    const segment = await this.writable(first)
    const end = await this.write(segment, bytes)
    noteGroup(segment, end - bytes.length, end, first, newest, stamped.length)
    this.newest = newest
    this.mark(sender, sequence)
    await this.keepWithinBounds()
  }

  /** Up to `limit` lines, and no more once they are `maxBytes` together. */
  async read(span: Span, limit: number, descending: boolean, maxBytes = Infinity): Promise<StoredLine[]> {
    if (span.start > this.newest) return []
    const all = this.active ? [...this.segments, this.active] : this.segments
    const found: StoredLine[] = []
    let bytes = 0
    for (const segment of descending ? all.toReversed() : all) {
      if (found.length >= limit || bytes >= maxBytes) break
      if (segment.last < span.start || segment.first >= span.end) continue
      const file = segment === this.active ? this.file : undefined
      const lines = await readSegment(segment, span, limit - found.length, descending, file, maxBytes - bytes)
      for (const { body } of lines) bytes += body.length
      found.push(...lines)
    }
    return found
  }

  get newestTimestamp(): bigint {
    return this.newest
  }

  meta(): SourceMeta {
    const all = (this.active ? [...this.segments, this.active] : this.segments).filter(({ lines }) => lines > 0)
    const count = all.reduce((sum, { lines }) => sum + lines, 0)
    return { count, expired: this.expired, oldest: all[0]?.first, newest: all.at(-1)?.last }
  }

  /** Gives the file back; the next append opens it again. */
  async closeFile(): Promise<void> {
    const file = this.file
    this.file = undefined
    await file?.close()
  }

  /** Removes the log for good. */
  async delete(): Promise<void> {
    await this.closeFile()
    this.segments = []
    this.active = undefined
    await rm(this.folder, { recursive: true, force: true })
  }

  private mark(sender: bigint, sequence: number): void {
    // Moved to the end, so that those who are long silent are forgotten first.
    this.marks.delete(sender)
    this.marks.set(sender, sequence)
    if (this.marks.size <= MAX_MARKS) return
    const [oldest] = this.marks.keys()
    if (oldest !== undefined) this.marks.delete(oldest)
  }

  private async writable(first: bigint): Promise<Segment> {
    if (this.active) {
      this.file ??= await open(this.active.path, 'r+')
      return this.active
    }
    await mkdir(this.folder, { recursive: true, mode: 0o700 })
    const path = join(this.folder, segmentName(first))
    this.file = await open(path, 'w+', 0o600)
    const segment: Segment = { path, first, last: first - 1n, lines: 0, bytes: 0, blocks: [] }
    this.active = segment
    if (this.marks.size > 0) segment.bytes = await this.write(segment, encodeMarks(this.marks))
    return segment
  }

  /** Writes at the segment's end; what a failed write left there is overwritten by the next, and cut off after a restart. */
  private async write(segment: Segment, bytes: Buffer): Promise<number> {
    if (!this.file) throw new Error(`${segment.path} is not open`)
    let written = 0
    while (written < bytes.length) {
      const { bytesWritten } = await this.file.write(bytes, written, bytes.length - written, segment.bytes + written)
      written += bytesWritten
    }
    return segment.bytes + written
  }

  private async keepWithinBounds(): Promise<void> {
    const { active } = this
    if (active && (active.bytes >= this.bounds.maxBytes / SEGMENTS || active.lines >= this.bounds.maxLines / SEGMENTS)) {
      await this.sealActive(active)
    }
    let bytes = this.sum('bytes')
    let lines = this.sum('lines')
    while (bytes > this.bounds.maxBytes || lines > this.bounds.maxLines) {
      const oldest = this.segments.shift()
      if (!oldest) return
      bytes -= oldest.bytes
      lines -= oldest.lines
      this.expired += oldest.lines
      await this.onExpiry(oldest)
      await unlink(oldest.path)
    }
  }

  private sum(what: 'bytes' | 'lines'): number {
    return this.segments.reduce((sum, segment) => sum + segment[what], this.active?.[what] ?? 0)
  }

  private async sealActive(active: Segment): Promise<void> {
    await this.file?.truncate(active.bytes)
    await this.file?.datasync()
    await this.closeFile()
    const path = join(this.folder, sealedName(active))
    await rename(active.path, path)
    active.path = path
    this.segments.push(active)
    this.active = undefined
  }

  private async load(name: string): Promise<void> {
    const path = join(this.folder, name)
    if (name.endsWith('.sealed')) {
      const segment = parseSealedName(path, name, (await stat(path)).size)
      if (segment) this.segments.push(segment)
      return
    }
    const first = /^(\d{20})\.active$/.exec(name)?.[1]
    if (first === undefined) return
    const { segment, marks, size } = await scanSegment(path, BigInt(first))
    if (segment.lines === 0) {
      // It may hold the only copy of the marks; the next segment carries them on.
      for (const [sender, sequence] of marks) this.mark(sender, sequence)
      await unlink(path)
      return
    }
    if (size > segment.bytes) await truncate(path, segment.bytes)
    for (const [sender, sequence] of marks) this.mark(sender, sequence)
    this.active = segment
  }
}

/** True for a system error with one of the codes. */
export const isErrno = (error: unknown, ...codes: string[]): boolean =>
  typeof error === 'object' && error !== null && 'code' in error && codes.includes(String(error.code))
