import type { LogLine } from '@bloomery/contracts'
import type { StoredLine } from '../segments/group.js'

/** An envelope as log-cache's readers decode it, strictly: no other field may appear. int64 is a string, the payload base64. */
export interface LogCacheEnvelope {
  readonly timestamp: string
  readonly source_id: string
  readonly instance_id: string
  readonly deprecated_tags: Record<string, never>
  readonly tags: Readonly<Record<string, string>>
  readonly log: { readonly payload: string; readonly type: 'OUT' | 'ERR' }
}

/** What is kept of a line beside its timestamp and app; short names, for it is written for every line. */
interface LineBody {
  readonly i: string
  readonly t: string
  readonly e?: 1
  readonly g?: Readonly<Record<string, string>>
  readonly x: string
}

export function encodeLine({ instanceId, sourceType, stream, tags, text }: LogLine): Buffer {
  const hasTags = tags !== undefined && Object.keys(tags).length > 0
  const body: LineBody = {
    i: instanceId,
    t: sourceType,
    ...(stream === 'ERR' ? { e: 1 } : {}),
    ...(hasTags ? { g: tags } : {}),
    // A trailing newline would show as an empty line.
    x: text.replace(/\r?\n$/, ''),
  }
  return Buffer.from(JSON.stringify(body))
}

/** A stored line as it was sent, but for what all lines of one app have in common. */
export function decodeLine({ timestamp, body }: StoredLine): Pick<
  LogLine,
  'instanceId' | 'sourceType' | 'stream' | 'text' | 'tags'
> & {
  readonly timestamp: bigint
} {
  const line = JSON.parse(body.toString()) as LineBody
  return {
    timestamp,
    instanceId: line.i,
    sourceType: line.t,
    stream: line.e ? 'ERR' : 'OUT',
    text: line.x,
    ...(line.g ? { tags: line.g } : {}),
  }
}

export function presentLine(sourceId: string, { timestamp, body }: StoredLine): LogCacheEnvelope {
  const line = JSON.parse(body.toString()) as LineBody
  return {
    timestamp: timestamp.toString(),
    source_id: sourceId,
    instance_id: line.i,
    deprecated_tags: {},
    tags: { ...line.g, source_type: line.t },
    log: { payload: Buffer.from(line.x).toString('base64'), type: line.e ? 'ERR' : 'OUT' },
  }
}
