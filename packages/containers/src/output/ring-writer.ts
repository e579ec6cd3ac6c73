import { closeSync, openSync, readSync, writeSync } from 'node:fs'
import { parseRingHeader, RING_HEAD_OFFSET, RING_HEADER_BYTES, type RingRecord } from './ring-format.js'

/** Appends records to a ring; for supervisors that are not the one of the stack image. */
export class RingWriter {
  private readonly file: number
  private readonly capacity: number
  private head: number
  private lastTimestamp = 0n
  private batch: Buffer[] = []

  constructor(path: string) {
    this.file = openSync(path, 'r+')
    const header = Buffer.alloc(24)
    readSync(this.file, header, 0, 24, 0)
    const ring = parseRingHeader(header)
    if (ring === undefined) throw new Error(`${path} is not a ring of output`)
    this.capacity = ring.capacity
    this.head = ring.head
  }

  append(stream: RingRecord['stream'], text: Buffer): void {
    const now = BigInt(Date.now()) * 1_000_000n
    this.lastTimestamp = now > this.lastTimestamp ? now : this.lastTimestamp + 1n
    this.batch.push(Buffer.from(`${this.lastTimestamp} ${stream === 'OUT' ? 'O' : 'E'} `), text, Buffer.from('\n'))
    if (this.batch.length > 3000) this.flush()
  }

  /** Writes what was appended, then the head: readers trust the head only. */
  flush(): void {
    if (this.batch.length === 0) return
    const data = Buffer.concat(this.batch)
    this.batch = []
    for (let done = 0; done < data.length;) {
      const at = this.head % this.capacity
      const written = writeSync(this.file, data, done, Math.min(data.length - done, this.capacity - at), RING_HEADER_BYTES + at)
      done += written
      this.head += written
    }
    const head = Buffer.alloc(8)
    head.writeBigUInt64LE(BigInt(this.head))
    writeSync(this.file, head, 0, 8, RING_HEAD_OFFSET)
  }

  close(): void {
    this.flush()
    closeSync(this.file)
  }
}
