import { watch } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import type { OutputLine } from '../engine.js'
import { Bucket } from './bucket.js'
import { parseRecord, parseRingHeader, RING_HEADER_BYTES } from './ring-format.js'

const CHUNK_BYTES = 256 * 1024
/** What lies this near to being overwritten is given up, so that a reader never races the writer for it. */
const MARGIN_BYTES = 1024 * 1024
/** Changes are gathered for so long: a program that prints in small pieces wakes the reader 20 times a second at most. */
const GATHER_MS = 50
const POLL_MS = 1000
/**
 * The meter sits in the container, where a hostile program could go round it and write to the ring itself. Honest output stays far below
 * these bounds; whoever exceeds them waits and loses lines of its own.
 */
const PACE = { byteBurst: 32 * 1024 ** 2, bytesPerSecond: 8 * 1024 ** 2, lineBurst: 200_000, linesPerSecond: 20_000 }
const PAUSE_MS = 100

interface ReadOptions {
  /** Cursor of the last line seen. */
  readonly after?: string | undefined
  readonly signal: AbortSignal
  /** Resolves when the writer has ended; what it left is still read. */
  readonly ended: Promise<unknown>
}

/** Lines of a ring from a cursor on, then live. What was overwritten before it could be read is counted and told as a line. */
export async function* readRing(path: string, { after, signal, ended }: ReadOptions): AsyncGenerator<OutputLine> {
  const file = await open(path, 'r')
  const bell = new Bell(path, signal, ended)
  const pace = new Pace(signal)
  try {
    let position = after === undefined ? 0 : Number(after)
    let resync = false
    for (;;) {
      const last = bell.ended
      const ring = await readHeader(file)
      if (ring === undefined || signal.aborted) return
      if (!Number.isSafeInteger(position) || position > ring.head) position = ring.head
      const oldest = ring.head - ring.capacity
      if (position < oldest) {
        const next = Math.min(ring.head, oldest + Math.min(MARGIN_BYTES, ring.capacity / 4))
        yield lostLine(next - position, next)
        await pace.after(MARGIN_BYTES, 1)
        position = next
        resync = true
      }
      if (position === ring.head) {
        if (last) return
        await bell.wait()
        continue
      }
      const chunk = await readChunk(file, ring.capacity, position, Math.min(CHUNK_BYTES, ring.head - position))
      const again = await readHeader(file)
      if (again === undefined || chunk.length === 0) return
      // The writer may have gone round while we read: then the loss above is counted at the next turn.
      if (again.head - ring.capacity > position) {
        await pace.after(chunk.length, 0)
        continue
      }
      const full = chunk.length === CHUNK_BYTES
      let start = 0
      let lines = 0
      for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, start)) {
        const record = resync ? undefined : parseRecord(chunk.subarray(start, end))
        resync = false
        start = end + 1
        lines++
        if (record !== undefined) yield { ...record, cursor: String(position + start) }
        if (signal.aborted) return
      }
      // A record without its end is either still being written or, over a whole chunk, not one of ours.
      position += start > 0 || !full ? start : chunk.length
      await pace.after(chunk.length, lines)
      if (start === 0 && !full) {
        if (last) return
        await bell.wait()
      }
    }
  } finally {
    bell.close()
    await file.close()
  }
}

async function readHeader(file: FileHandle): Promise<{ capacity: number; head: number } | undefined> {
  const header = Buffer.alloc(24)
  await file.read(header, 0, 24, 0)
  return parseRingHeader(header)
}

async function readChunk(file: FileHandle, capacity: number, position: number, length: number): Promise<Buffer> {
  const at = position % capacity
  const first = Math.min(length, capacity - at)
  const chunk = Buffer.alloc(length)
  const { bytesRead } = await file.read(chunk, 0, first, RING_HEADER_BYTES + at)
  if (bytesRead < first || first === length) return chunk.subarray(0, bytesRead)
  const rest = await file.read(chunk, first, length - first, RING_HEADER_BYTES)
  return chunk.subarray(0, first + rest.bytesRead)
}

const lostLine = (bytes: number, cursor: number): OutputLine => ({
  stream: 'ERR',
  text: `${bytes} bytes of output were lost here: the instance wrote faster than its log could be collected`,
  timestamp: BigInt(Date.now()) * 1_000_000n,
  cursor: String(cursor),
})

/** Keeps the reader from spending more on one container than any output is worth. */
class Pace {
  private readonly bytes = new Bucket(PACE.byteBurst, PACE.bytesPerSecond, performance.now())
  private readonly lines = new Bucket(PACE.lineBurst, PACE.linesPerSecond, performance.now())

  constructor(private readonly signal: AbortSignal) {}

  async after(bytes: number, lines: number): Promise<void> {
    this.bytes.tokens -= bytes
    this.lines.tokens -= lines
    for (;;) {
      this.bytes.refill(performance.now())
      this.lines.refill(performance.now())
      if ((this.bytes.tokens >= 0 && this.lines.tokens >= 0) || this.signal.aborted) return
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
    }
  }
}

/** Rings when the file changed, the writer ended or the reader is told to stop; else once a second, since watching may be impossible. */
class Bell {
  ended = false
  private rung = false
  private wake: (() => void) | undefined
  private readonly watcher: { close(): void } | undefined
  private readonly abort = () => this.ring()

  constructor(
    path: string,
    private readonly signal: AbortSignal,
    ended: Promise<unknown>,
  ) {
    const onEnd = () => {
      this.ended = true
      this.ring()
    }
    ended.then(onEnd, onEnd)
    signal.addEventListener('abort', this.abort)
    try {
      const watcher = watch(path, { persistent: false }, () => {
        this.rung = true
        this.wake?.()
      })
      watcher.on('error', () => watcher.close())
      this.watcher = watcher
    } catch {
      // No inotify watch to be had: the poll below carries on alone.
      this.watcher = undefined
    }
  }

  async wait(): Promise<void> {
    if (!this.rung && !this.ended && !this.signal.aborted)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, POLL_MS)
        this.wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    this.wake = undefined
    if (!this.ended && !this.signal.aborted) await new Promise((resolve) => setTimeout(resolve, GATHER_MS))
    this.rung = false
  }

  close(): void {
    this.signal.removeEventListener('abort', this.abort)
    this.watcher?.close()
  }

  private ring(): void {
    this.rung = true
    this.wake?.()
  }
}
