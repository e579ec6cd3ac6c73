import { type FileHandle, open } from 'node:fs/promises'
import { linesOf, marksOf, readGroups, type StoredLine } from './group.js'

const BLOCK_BYTES = 64 * 1024

/** Where a stretch of whole groups begins, and its first timestamp. */
interface Block {
  readonly offset: number
  readonly first: bigint
}

/** What is known of one segment file. */
export interface Segment {
  path: string
  readonly first: bigint
  last: bigint
  lines: number
  bytes: number
  /** Sparse index; made when a segment that was sealed earlier is read for the first time. */
  blocks: Block[] | undefined
}

/** Bounds of a read: `start` is included, `end` is not. */
export interface Span {
  readonly start: bigint
  readonly end: bigint
}

export const segmentName = (first: bigint): string => `${padded(first)}.active`
export const sealedName = (segment: Segment): string => `${padded(segment.first)}-${padded(segment.last)}-${segment.lines}.sealed`
const padded = (timestamp: bigint): string => timestamp.toString().padStart(20, '0')

/** A sealed file says in its name what is in it, so that nobody need read it to know. */
export function parseSealedName(path: string, name: string, bytes: number): Segment | undefined {
  const match = /^(\d{20})-(\d{20})-(\d+)\.sealed$/.exec(name)
  if (!match?.[1] || !match[2] || !match[3]) return undefined
  return { path, first: BigInt(match[1]), last: BigInt(match[2]), lines: Number(match[3]), bytes, blocks: undefined }
}

/** Takes note of a group that was appended at `offset`. */
export function noteGroup(segment: Segment, offset: number, end: number, first: bigint, last: bigint, count: number): void {
  segment.blocks ??= []
  const block = segment.blocks.at(-1)
  if (!block || offset - block.offset >= BLOCK_BYTES) segment.blocks.push({ offset, first })
  segment.last = last
  segment.lines += count
  segment.bytes = end
}

/** Reads a whole segment file: its index, its senders' marks, and where the last whole group ends. */
export async function scanSegment(
  path: string,
  first: bigint,
): Promise<{ segment: Segment; marks: Map<bigint, number>; size: number }> {
  const file = await open(path, 'r')
  try {
    const bytes = await file.readFile()
    const segment: Segment = { path, first, last: first - 1n, lines: 0, bytes: 0, blocks: [] }
    const marks = new Map<bigint, number>()
    for (const group of readGroups(bytes)) {
      for (const [sender, sequence] of marksOf(group)) marks.set(sender, sequence)
      if (group.count === 0) {
        segment.bytes = group.end
        continue
      }
      let from: bigint | undefined
      let to = segment.last
      for (const { timestamp } of linesOf(group)) {
        from ??= timestamp
        to = timestamp
      }
      noteGroup(segment, group.offset, group.end, from ?? first, to, group.count)
    }
    return { segment, marks, size: bytes.length }
  } finally {
    await file.close()
  }
}

/** Up to `limit` lines of the span, oldest first or newest first; no more once they are `maxBytes` together. */
export async function readSegment(
  segment: Segment,
  span: Span,
  limit: number,
  descending: boolean,
  openFile?: FileHandle,
  maxBytes = Infinity,
): Promise<StoredLine[]> {
  segment.blocks ??= (await scanSegment(segment.path, segment.first)).segment.blocks ?? []
  const blocks = segment.blocks
  const found: StoredLine[] = []
  let bytes = 0
  const file = openFile ?? (await open(segment.path, 'r'))
  try {
    for (let step = 0; step < blocks.length && found.length < limit && bytes < maxBytes; step++) {
      const at = descending ? blocks.length - 1 - step : step
      const block = blocks[at]
      const next = blocks[at + 1]
      if (!block) break
      if (descending ? block.first >= span.end : next !== undefined && next.first <= span.start) continue
      if (descending ? next !== undefined && next.first <= span.start : block.first >= span.end) break
      const lines = await readBlock(file, block.offset, next?.offset ?? segment.bytes)
      for (const line of descending ? lines.reverse() : lines) {
        if (line.timestamp < span.start || line.timestamp >= span.end) continue
        found.push(line)
        bytes += line.body.length
        if (found.length === limit || bytes >= maxBytes) break
      }
    }
  } finally {
    if (!openFile) await file.close()
  }
  return found
}

async function readBlock(file: FileHandle, from: number, to: number): Promise<StoredLine[]> {
  const bytes = Buffer.allocUnsafe(to - from)
  const { bytesRead } = await file.read(bytes, 0, bytes.length, from)
  const lines: StoredLine[] = []
  for (const group of readGroups(bytes.subarray(0, bytesRead))) for (const line of linesOf(group)) lines.push(line)
  return lines
}
