import { mkdirSync, readdirSync, readFileSync, truncateSync, unlinkSync } from 'node:fs'
import { type FileHandle, open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import type { LogSpool, SpooledBatch } from './log-spool.js'

const SUFFIX = '.spool'
/** magic, body bytes, cursor bytes, crc of both, sequence. */
const HEADER_BYTES = 24
const MAGIC = 0x424c5331
const SEGMENT_BYTES = 4 * 1024 * 1024
/** A segment of which all is acknowledged is given up beyond this size, so that an idle spool is small. */
const IDLE_SEGMENT_BYTES = 1024 * 1024
/** Bodies kept in memory, so that an ordinary day never reads the disk. */
const RESIDENT_BYTES = 2 * 1024 * 1024
/** How much may wait in memory while the disk refuses writes. */
const REFUSED_BYTES = 8 * 1024 * 1024

interface Segment {
  readonly path: string
  file: FileHandle | undefined
  size: number
  waiting: number
}

interface Entry {
  readonly sequence: number
  /** Absent when the disk refused it and it waits in memory alone. */
  readonly segment: Segment | undefined
  readonly offset: number
  readonly length: number
  body: Buffer | undefined
}

/**
 * Batches in append-only segment files, written before they are sent. Not synced: it survives the death of the process, and of the
 * machine but for the last seconds. Acknowledgements are not written down; after a restart whole segments are sent again and the
 * store recognises the sequences. A torn record at the end of a segment was never sent and is cut off.
 */
export class DiskLogSpool implements LogSpool {
  readonly cursors = new Map<string, string>()
  lastSequence = 0
  private readonly entries: Entry[] = []
  private readonly segments: Segment[] = []
  private current: Segment | undefined
  private held = 0
  private resident = 0

  /** Reads what an earlier process left; throws when the folder cannot be used. */
  constructor(private readonly folder: string) {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const names = readdirSync(folder).filter((name) => name.endsWith(SUFFIX))
    for (const name of names.sort()) this.load(join(folder, name))
  }

  get bytes(): number {
    return this.held
  }

  /** Rejects when neither the disk nor the memory meant for such times has room. */
  async append({ sequence, body, cursors }: SpooledBatch): Promise<void> {
    let segment: Segment | undefined
    let offset = 0
    try {
      segment = await this.writable(sequence)
      offset = await this.write(segment, sequence, body, cursors ?? new Map())
      segment.waiting++
    } catch (error) {
      if (this.resident + body.length > REFUSED_BYTES) throw error
      segment = undefined
    }
    for (const [key, position] of cursors ?? []) this.cursors.set(key, position)
    const keep = segment === undefined || this.resident + body.length <= RESIDENT_BYTES
    if (keep) this.resident += body.length
    this.entries.push({ sequence, segment, offset, length: body.length, body: keep ? body : undefined })
    this.held += body.length
    this.lastSequence = Math.max(this.lastSequence, sequence)
  }

  async peek(): Promise<SpooledBatch | undefined> {
    const entry = this.entries[0]
    if (!entry) return undefined
    try {
      return { sequence: entry.sequence, body: entry.body ?? (await this.read(entry)) }
    } catch (error) {
      // What cannot be read now will not be readable later, and must not hold up the rest.
      await this.acknowledge()
      throw new Error(`a batch of log lines was lost from the spool ${this.folder}`, { cause: error })
    }
  }

  async acknowledge(): Promise<void> {
    const entry = this.entries.shift()
    if (!entry) return
    this.held -= entry.length
    if (entry.body) this.resident -= entry.length
    if (!entry.segment) return
    entry.segment.waiting--
    await this.release(entry.segment)
  }

  forgetCursor(key: string): void {
    this.cursors.delete(key)
  }

  async close(): Promise<void> {
    for (const segment of this.segments) await segment.file?.close()
    for (const segment of this.segments) segment.file = undefined
    this.current = undefined
  }

  private async release(segment: Segment): Promise<void> {
    if (segment.waiting > 0) return
    if (segment === this.current) {
      if (segment.size < IDLE_SEGMENT_BYTES) return
      this.current = undefined
      // Carries the cursors over and releases all older segments, this one with them.
      await this.writable(this.lastSequence + 1)
      return
    }
    // Without a current segment this one holds the only copy of the cursors.
    if (!this.current) return
    this.segments.splice(this.segments.indexOf(segment), 1)
    await segment.file?.close()
    await unlink(segment.path)
  }

  private async writable(sequence: number): Promise<Segment> {
    if (this.current && this.current.size < SEGMENT_BYTES) return this.current
    const path = join(this.folder, `${String(sequence).padStart(16, '0')}${SUFFIX}`)
    const segment: Segment = { path, file: await open(path, 'w+', 0o600), size: 0, waiting: 0 }
    this.segments.push(segment)
    // Carried over, so that older segments can go.
    await this.write(segment, 0, Buffer.alloc(0), this.cursors)
    this.current = segment
    for (const older of [...this.segments]) if (older !== segment) await this.release(older)
    return segment
  }

  private async write(segment: Segment, sequence: number, body: Buffer, cursors: ReadonlyMap<string, string>): Promise<number> {
    const positions = Buffer.from(cursors.size > 0 ? JSON.stringify(Object.fromEntries(cursors)) : '')
    const header = Buffer.alloc(HEADER_BYTES)
    header.writeUInt32LE(MAGIC, 0)
    header.writeUInt32LE(body.length, 4)
    header.writeUInt32LE(positions.length, 8)
    header.writeUInt32LE(crc32(positions, crc32(body)), 12)
    header.writeDoubleLE(sequence, 16)
    const file = segment.file
    if (!file) throw new Error('the spool is closed')
    const offset = segment.size
    // Positioned, so that a write which failed half-way (disk full) is overwritten by the next one.
    await file.writev([header, body, positions], offset)
    segment.size = offset + HEADER_BYTES + body.length + positions.length
    return offset + HEADER_BYTES
  }

  private async read({ segment, offset, length }: Entry): Promise<Buffer> {
    if (!segment) throw new Error('the batch was never on disk')
    segment.file ??= await open(segment.path, 'r')
    const body = Buffer.alloc(length)
    const { bytesRead } = await segment.file.read(body, 0, length, offset)
    if (bytesRead !== length) throw new Error(`${segment.path} is shorter than it was`)
    return body
  }

  private load(path: string): void {
    const bytes = readFileSync(path)
    const segment: Segment = { path, file: undefined, size: 0, waiting: 0 }
    let offset = 0
    while (offset + HEADER_BYTES <= bytes.length && bytes.readUInt32LE(offset) === MAGIC) {
      const bodyLength = bytes.readUInt32LE(offset + 4)
      const start = offset + HEADER_BYTES
      const end = start + bodyLength + bytes.readUInt32LE(offset + 8)
      if (end > bytes.length || crc32(bytes.subarray(start, end)) !== bytes.readUInt32LE(offset + 12)) break
      const sequence = bytes.readDoubleLE(offset + 16)
      if (end > start + bodyLength) this.restoreCursors(bytes.subarray(start + bodyLength, end))
      if (bodyLength > 0) {
        this.entries.push({ sequence, segment, offset: start, length: bodyLength, body: undefined })
        this.held += bodyLength
        segment.waiting++
        this.lastSequence = Math.max(this.lastSequence, sequence)
      }
      offset = end
    }
    if (offset < bytes.length) truncateSync(path, offset)
    segment.size = offset
    if (offset === 0) unlinkSync(path)
    else this.segments.push(segment)
  }

  private restoreCursors(json: Buffer): void {
    const positions = JSON.parse(json.toString()) as Record<string, string>
    for (const [key, position] of Object.entries(positions)) this.cursors.set(key, position)
  }
}
