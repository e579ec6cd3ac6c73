import { Bucket } from './bucket.js'
import type { RingRecord } from './ring-format.js'

/** The bounds of stacks/supervisor/supervise.c, which does the same inside containers. */
const LINE_BYTES = 60 * 1024
const LINES_PER_SECOND = 10_000
const BOUNDS = {
  unlimited: { lineBurst: 100_000, byteBurst: 16 * 1024 ** 2, bytesPerSecond: 4 * 1024 ** 2 },
  limited: { lineBurst: LINES_PER_SECOND, byteBurst: 64 * 1024 ** 2, bytesPerSecond: 16 * 1024 ** 2 },
} as const

type Stream = RingRecord['stream']

/**
 * Cuts output into lines and lets pass what the rate allows: one second's worth, then a line that says so, then nothing for a second.
 * Unlimited output (-1) is slowed down instead; `pauseMs` tells the reader for how long.
 */
export class OutputMeter {
  private readonly bytes: Bucket
  private readonly lines: Bucket
  private readonly reading: Bucket
  private readonly partial: Record<Stream, { parts: Buffer[]; length: number; discarding: boolean }> = {
    OUT: { parts: [], length: 0, discarding: false },
    ERR: { parts: [], length: 0, discarding: false },
  }
  private dropUntilMs = -Infinity

  constructor(
    private readonly rate: number,
    private readonly emit: (stream: Stream, text: Buffer) => void,
    nowMs: number,
  ) {
    const bounds = rate < 0 ? BOUNDS.unlimited : BOUNDS.limited
    this.bytes = new Bucket(Math.max(0, rate), Math.max(0, rate), nowMs)
    this.lines = new Bucket(bounds.lineBurst, LINES_PER_SECOND, nowMs)
    this.reading = new Bucket(bounds.byteBurst, bounds.bytesPerSecond, nowMs)
  }

  feed(stream: Stream, chunk: Buffer, nowMs: number): void {
    this.reading.refill(nowMs)
    this.reading.tokens -= chunk.length
    const line = this.partial[stream]
    for (let start = 0; start < chunk.length;) {
      if (this.rate === 0 || nowMs < this.dropUntilMs) {
        line.parts = []
        line.length = 0
        line.discarding = chunk[chunk.length - 1] !== 0x0a
        return
      }
      const end = chunk.indexOf(0x0a, start)
      this.take(stream, chunk.subarray(start, end < 0 ? chunk.length : end), nowMs)
      if (end < 0) return
      this.finishLine(stream, nowMs)
      start = end + 1
    }
  }

  /** The stream is over; what has no newline is a line too. */
  end(stream: Stream, nowMs: number): void {
    if (this.partial[stream].length > 0) this.finishLine(stream, nowMs)
  }

  /** How long to read nothing, so that a flood costs neither the reader nor its neighbours a core. */
  pauseMs(nowMs: number): number {
    this.reading.refill(nowMs)
    if (this.rate < 0) this.lines.refill(nowMs)
    return this.reading.tokens < 0 || (this.rate < 0 && this.lines.tokens < 0) ? 50 : 0
  }

  private take(stream: Stream, piece: Buffer, nowMs: number): void {
    const line = this.partial[stream]
    for (let at = 0; at < piece.length && !line.discarding;) {
      const part = piece.subarray(at, at + LINE_BYTES - line.length)
      line.parts.push(Buffer.from(part))
      line.length += part.length
      at += part.length
      if (line.length === LINE_BYTES) this.finishLine(stream, nowMs)
    }
  }

  private finishLine(stream: Stream, nowMs: number): void {
    const line = this.partial[stream]
    const text = Buffer.concat(line.parts)
    const discarding = line.discarding
    line.parts = []
    line.length = 0
    line.discarding = false
    if (discarding || this.rate === 0 || nowMs < this.dropUntilMs || text.length === 0) return
    if (this.rate > 0) {
      this.bytes.refill(nowMs)
      if (this.bytes.tokens < text.length) return this.exceeded(`${this.rate} bytes/sec)`, nowMs)
      this.bytes.tokens -= text.length
      this.lines.refill(nowMs)
      if (this.lines.tokens < 1) return this.exceeded(`${LINES_PER_SECOND} log-lines/sec) set by platform operator`, nowMs)
    }
    this.lines.tokens -= 1
    this.emit(stream, text)
  }

  private exceeded(limit: string, nowMs: number): void {
    this.emit('OUT', Buffer.from(`app instance exceeded log rate limit (${limit}`))
    this.dropUntilMs = nowMs + 1000
  }
}
