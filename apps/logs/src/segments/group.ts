import { crc32 } from 'node:zlib'

/** One line as it is stored. */
export interface StoredLine {
  readonly timestamp: bigint
  /** JSON of LineBody. */
  readonly body: Buffer
}

/** What one batch brought for one app: appended whole or not at all, with the mark by which a repetition is known. */
export interface Group {
  /** Who sent it; 0 for the group that opens a segment. */
  readonly sender: bigint
  readonly sequence: number
  readonly lines: readonly StoredLine[]
}

/** A group as found in a segment; its lines are decoded on demand. */
export interface GroupView {
  readonly sender: bigint
  readonly sequence: number
  readonly count: number
  readonly offset: number
  readonly end: number
  readonly payload: Buffer
}

const MAGIC = 0x42_4c_47_31
/** magic, payload bytes, crc of all that follows it, count, sender, sequence. */
const HEADER_BYTES = 32
const CRC_FROM = 12
const LINE_HEADER_BYTES = 12

export function encodeGroup({ sender, sequence, lines }: Group): Buffer {
  const length = lines.reduce((sum, line) => sum + LINE_HEADER_BYTES + line.body.length, 0)
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + length)
  let at = HEADER_BYTES
  for (const line of lines) {
    bytes.writeUInt32LE(line.body.length, at)
    bytes.writeBigInt64LE(line.timestamp, at + 4)
    line.body.copy(bytes, at + LINE_HEADER_BYTES)
    at += LINE_HEADER_BYTES + line.body.length
  }
  return seal(bytes, lines.length, sender, sequence)
}

/** The group that opens a segment: up to which sequence each sender's lines are in the segments before it. */
export function encodeMarks(marks: ReadonlyMap<bigint, number>): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES + marks.size * 16)
  let at = HEADER_BYTES
  for (const [sender, sequence] of marks) {
    bytes.writeBigUInt64LE(sender, at)
    bytes.writeDoubleLE(sequence, at + 8)
    at += 16
  }
  return seal(bytes, 0, 0n, 0)
}

function seal(bytes: Buffer, count: number, sender: bigint, sequence: number): Buffer {
  bytes.writeUInt32LE(MAGIC, 0)
  bytes.writeUInt32LE(bytes.length - HEADER_BYTES, 4)
  bytes.writeUInt32LE(count, 12)
  bytes.writeBigUInt64LE(sender, 16)
  bytes.writeDoubleLE(sequence, 24)
  bytes.writeUInt32LE(crc32(bytes.subarray(CRC_FROM)), 8)
  return bytes
}

/** All whole groups from the start of `bytes`; ends at the first that is torn or damaged. */
export function* readGroups(bytes: Buffer): Generator<GroupView> {
  let offset = 0
  while (offset + HEADER_BYTES <= bytes.length && bytes.readUInt32LE(offset) === MAGIC) {
    const start = offset + HEADER_BYTES
    const end = start + bytes.readUInt32LE(offset + 4)
    if (end > bytes.length || crc32(bytes.subarray(offset + CRC_FROM, end)) !== bytes.readUInt32LE(offset + 8)) return
    yield {
      count: bytes.readUInt32LE(offset + 12),
      sender: bytes.readBigUInt64LE(offset + 16),
      sequence: bytes.readDoubleLE(offset + 24),
      offset,
      end,
      payload: bytes.subarray(start, end),
    }
    offset = end
  }
}

export function* linesOf(group: GroupView): Generator<StoredLine> {
  const { payload } = group
  let at = 0
  for (let i = 0; i < group.count; i++) {
    const length = payload.readUInt32LE(at)
    const start = at + LINE_HEADER_BYTES
    yield { timestamp: payload.readBigInt64LE(at + 4), body: payload.subarray(start, start + length) }
    at = start + length
  }
}

export function* marksOf(group: GroupView): Generator<[sender: bigint, sequence: number]> {
  if (group.sender !== 0n) {
    yield [group.sender, group.sequence]
    return
  }
  for (let at = 0; at < group.payload.length; at += 16)
    yield [group.payload.readBigUInt64LE(at), group.payload.readDoubleLE(at + 8)]
}
