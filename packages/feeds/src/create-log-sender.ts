import type { Envelope, LogLine } from '@bloomery/contracts'
import { type Logger, silentLogger } from '@bloomery/telemetry'
import { DiskLogSpool } from './disk-log-spool.js'
import { LogDelivery } from './log-delivery.js'
import { LineBatch } from './line-batch.js'
import type { LogCursor, LogSender } from './log-sender.js'
import { type LogSpool, MemoryLogSpool } from './log-spool.js'
import { createTimestamps } from './log-timestamps.js'
import { LostLines } from './lost-lines.js'
import type { IdentitySource } from './mutual-tls.js'

/** Enough for what one write of an app brings. */
const FIRST_DELAY_MS = 10
/** The contract's limit for one line. */
const LINE_BYTES = 60 * 1024

export interface LogSenderOptions {
  /** https://host:port of the log store. */
  readonly logsUrl: string
  readonly identity: IdentitySource
  /** Stable name of this sender, its certificate's name and what tells processes of one role apart: `cell:c1`, `router:r1/worker-2`. */
  readonly sender: string
  /** A folder of this sender alone. Without one, what waits is lost with the process. */
  readonly spoolDir?: string
  /** Default 64 MiB with a folder, 8 MiB without. */
  readonly maxSpoolBytes?: number
  /** A batch is sent at the latest this long after its first line; default 100 ms. */
  readonly batchDelayMs?: number
  /** … or when it has grown to this size; default 256 KiB. */
  readonly batchBytes?: number
  readonly logger?: Logger
}

export interface SpoolingLogSender extends LogSender {
  /** A timestamp greater than any that it gave before. */
  nextTimestamp(): string
  /** The last position of that input which is safe in the spool or the store, also after a restart. */
  cursorOf(key: string): string | undefined
  /** The input is gone for good. */
  forgetCursor(key: string): void
}

/** A sender over mutual TLS; see LogSender. Starts at once with what an earlier process left in the spool. */
export function createLogSender(options: LogSenderOptions): SpoolingLogSender {
  return new BatchingLogSender(options)
}

class BatchingLogSender implements SpoolingLogSender {
  readonly nextTimestamp = createTimestamps()
  private readonly log: Logger
  private readonly spool: LogSpool
  private readonly maxSpoolBytes: number
  private readonly batchDelayMs: number
  private readonly batchBytes: number
  private readonly delivery: LogDelivery
  private readonly lost = new LostLines()
  /** Bytes per source since the spool was last empty: nobody may take all of a spool that fills. */
  private readonly shares = new Map<string, number>()
  private readonly lines = new LineBatch()
  private lineCounts = new Map<string, number>()
  private cursors = new Map<string, string>()
  /** Handed to the spool and not yet in it. */
  private cutBytes = 0
  private sequence: number
  private timer: NodeJS.Timeout | undefined
  private lastCut = Number.NEGATIVE_INFINITY
  private closed = false

  constructor(private readonly options: LogSenderOptions) {
    this.log = options.logger ?? silentLogger
    this.batchDelayMs = options.batchDelayMs ?? 100
    this.batchBytes = options.batchBytes ?? 256 * 1024
    this.spool = this.openSpool()
    this.maxSpoolBytes = options.maxSpoolBytes ?? (this.spool instanceof DiskLogSpool ? 64 : 8) * 1024 * 1024
    // Above all that was ever used, even when the spool is lost: the store takes a sequence it has seen for a repetition.
    this.sequence = Math.max(this.spool.lastSequence, Date.now() * 1000)
    this.delivery = new LogDelivery({ ...options, logger: this.log, spool: this.spool, onEmpty: () => this.drained() })
    this.delivery.wake()
  }

  send(envelope: Envelope, cursor?: LogCursor): void {
    if (this.closed) return
    if (envelope.kind === 'metrics') return this.delivery.offerMetrics(envelope)
    if (cursor) this.cursors.set(cursor.key, cursor.position)
    if (envelope.text.length * 3 <= LINE_BYTES || Buffer.byteLength(envelope.text) <= LINE_BYTES) this.accept(envelope)
    else for (const text of pieces(envelope.text)) this.accept({ ...envelope, text })
    if (this.lines.length >= this.batchBytes) this.cut()
    else this.timer ??= setTimeout(() => this.cut(), this.delayMs())
  }

  async flush(timeoutMs: number): Promise<boolean> {
    this.cut()
    return this.delivery.settled(this.sequence, timeoutMs)
  }

  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    await this.flush(1_000)
    await this.delivery.close()
    await this.spool.close()
  }

  cursorOf(key: string): string | undefined {
    return this.spool.cursors.get(key)
  }

  forgetCursor(key: string): void {
    this.cursors.delete(key)
    this.spool.forgetCursor(key)
  }

  /** After a silence the first line hardly waits, for somebody may be watching; a stream of them is gathered. */
  private delayMs(): number {
    return performance.now() - this.lastCut >= this.batchDelayMs ? Math.min(FIRST_DELAY_MS, this.batchDelayMs) : this.batchDelayMs
  }

  private accept(line: LogLine): void {
    const json = jsonOf(line)
    const bytes = json.length
    const waiting = this.spool.bytes + this.cutBytes + this.lines.length
    const share = (this.shares.get(line.sourceId) ?? 0) + bytes
    if (waiting + bytes > this.maxSpoolBytes || (waiting > this.maxSpoolBytes / 2 && share > this.maxSpoolBytes / 4)) {
      this.lost.add(line.sourceId)
      return
    }
    // The first line that fits again is preceded by the count of those that did not.
    const lost = this.lost.take(line.sourceId)
    if (lost > 0) this.push(line.sourceId, JSON.stringify(lostLine(line.sourceId, lost, this.nextTimestamp())))
    this.shares.set(line.sourceId, share)
    this.push(line.sourceId, json)
  }

  private push(sourceId: string, json: string): void {
    this.lines.add(json)
    this.lineCounts.set(sourceId, (this.lineCounts.get(sourceId) ?? 0) + 1)
  }

  private cut(): void {
    clearTimeout(this.timer)
    this.timer = undefined
    this.lastCut = performance.now()
    if (this.lines.length === 0 && this.cursors.size === 0) return
    const sequence = ++this.sequence
    const head = `{"sender":${JSON.stringify(this.options.sender)},"sequence":${sequence},"envelopes":[`
    const body = this.lines.take(head, ']}')
    const counts = this.lineCounts
    const cursors = this.cursors
    this.lineCounts = new Map()
    this.cursors = new Map()
    this.cutBytes += body.length
    this.delivery
      .append({ sequence, body, cursors })
      .catch((error: unknown) => {
        this.log.error({ err: error }, 'log lines lost: the spool cannot be written')
        for (const [sourceId, count] of counts) this.lost.add(sourceId, count)
      })
      .finally(() => {
        this.cutBytes -= body.length
      })
  }

  /** The store took all that waited: shares begin anew, and sources that lost lines and are silent since get their notice. */
  private drained(): void {
    this.shares.clear()
    if (this.closed) return
    for (const [sourceId, lost] of this.lost.takeAll())
      this.push(sourceId, JSON.stringify(lostLine(sourceId, lost, this.nextTimestamp())))
    if (this.lines.length > 0) this.timer ??= setTimeout(() => this.cut(), this.batchDelayMs)
  }

  private openSpool(): LogSpool {
    if (this.options.spoolDir === undefined) return new MemoryLogSpool()
    try {
      return new DiskLogSpool(this.options.spoolDir)
    } catch (error) {
      this.log.error(
        { err: error, spoolDir: this.options.spoolDir },
        'the log spool cannot be used, waiting lines are kept in memory',
      )
      return new MemoryLogSpool()
    }
  }
}

/** What all lines of one source, instance and stream have in common; most often it is that of the line before. */
let common = { of: {} as Partial<LogLine>, json: '' }

/** As JSON.stringify does it, in a third of the time. */
function jsonOf(line: LogLine): string {
  if (line.tags) return JSON.stringify(line)
  const { kind, sourceId, instanceId, sourceType, stream } = line
  const { of } = common
  if (of.sourceId !== sourceId || of.instanceId !== instanceId || of.sourceType !== sourceType || of.stream !== stream) {
    const shared = { kind, sourceId, instanceId, sourceType, stream }
    common = { of: shared, json: JSON.stringify(shared).slice(0, -1) }
  }
  return `${common.json},"timestamp":${JSON.stringify(line.timestamp)},"text":${JSON.stringify(line.text)}}`
}

function lostLine(sourceId: string, count: number, timestamp: string): LogLine {
  const text = `${count} log ${count === 1 ? 'line was' : 'lines were'} lost: the log store did not take them in time and the sender's buffer was full`
  return { kind: 'log', sourceId, instanceId: '0', sourceType: 'LGR', stream: 'ERR', timestamp, text }
}

/** Pieces within the limit, never cutting a character in two. */
function* pieces(text: string): Generator<string> {
  const bytes = Buffer.from(text)
  let start = 0
  while (start < bytes.length) {
    let end = Math.min(start + LINE_BYTES, bytes.length)
    while (end < bytes.length && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--
    yield bytes.toString('utf8', start, end)
    start = end
  }
}
