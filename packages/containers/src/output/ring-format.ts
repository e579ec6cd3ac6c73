/**
 * The file that carries a container's output from the supervisor inside to the cell outside: a header of one page, then a ring of
 * `capacity` bytes. The header holds the mark `BLMRING1`, the capacity and the head, both unsigned 64-bit little-endian. The head is
 * the number of bytes ever written; byte n lies at `RING_HEADER_BYTES + n % capacity`. Records are text lines:
 * `<nanoseconds since the epoch> <O|E> <text>\n`. The supervisor writes data first, then the head.
 *
 * A ring bounds what a chatty app can take, needs no rotation that a crash could break, and lets each reader go on from any position.
 */
export const RING_HEADER_BYTES = 4096
export const RING_CAPACITY_BYTES = 16 * 1024 * 1024
export const RING_HEAD_OFFSET = 16
const MARK = 'BLMRING1'

/** The first 24 bytes of a new ring. */
export function ringHeader(capacity: number = RING_CAPACITY_BYTES): Buffer {
  const header = Buffer.alloc(24)
  header.write(MARK, 0, 'latin1')
  header.writeBigUInt64LE(BigInt(capacity), 8)
  header.writeBigUInt64LE(0n, RING_HEAD_OFFSET)
  return header
}

/** Undefined when this is not a ring (or was tampered with by the program inside, which may write to it). */
export function parseRingHeader(header: Buffer): { capacity: number; head: number } | undefined {
  if (header.length < 24 || header.toString('latin1', 0, 8) !== MARK) return undefined
  const capacity = Number(header.readBigUInt64LE(8))
  const head = Number(header.readBigUInt64LE(RING_HEAD_OFFSET))
  if (!Number.isSafeInteger(capacity) || !Number.isSafeInteger(head) || capacity < 65_536) return undefined
  return { capacity, head }
}

export interface RingRecord {
  readonly stream: 'OUT' | 'ERR'
  readonly text: string
  readonly timestamp: bigint
}

/** Undefined for a line that is none of ours. */
export function parseRecord(line: Buffer): RingRecord | undefined {
  const space = line.indexOf(0x20)
  if (space < 1 || space > 20 || line[space + 2] !== 0x20) return undefined
  const stream = line[space + 1] === 0x4f ? 'OUT' : line[space + 1] === 0x45 ? 'ERR' : undefined
  const digits = line.toString('latin1', 0, space)
  if (stream === undefined || !/^\d+$/.test(digits)) return undefined
  return { stream, text: line.toString('utf8', space + 3), timestamp: BigInt(digits) }
}
