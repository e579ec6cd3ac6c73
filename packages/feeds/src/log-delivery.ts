import type { InstanceMetrics } from '@bloomery/contracts'
import type { Logger } from '@bloomery/telemetry'
import { InternalCaller } from './internal-caller.js'
import type { LogSpool, SpooledBatch } from './log-spool.js'
import type { IdentitySource } from './mutual-tls.js'

const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 2_000
const METRICS_KEPT = 20_000

interface LogDeliveryOptions {
  readonly logsUrl: string
  readonly identity: IdentitySource
  readonly sender: string
  readonly spool: LogSpool
  readonly logger: Logger
  /** Called when nothing waits any more. */
  readonly onEmpty: () => void
}

/** Empties a spool into the log store: one batch at a time, in order, again until it is acknowledged. */
export class LogDelivery {
  private caller: InternalCaller | undefined
  private running: Promise<void> | undefined
  private stopped = false
  /** Something came since the last look. */
  private wanted = false
  private away = false
  private pauseMs = FIRST_PAUSE_MS
  private interruptPause: () => void = () => undefined
  private acknowledged = 0
  private waiters: { sequence: number; resolve: () => void }[] = []
  private metrics = new Map<string, InstanceMetrics>()
  private metricsSequence = Date.now() * 1000
  /** The spool is used by one operation at a time. */
  private spoolQueue: Promise<unknown> = Promise.resolve()

  constructor(private readonly options: LogDeliveryOptions) {}

  async append(batch: SpooledBatch): Promise<void> {
    await this.exclusively(() => this.options.spool.append(batch))
    this.wake()
  }

  /** Metrics are worth nothing when old: they are not spooled, and a newer one replaces what waits. */
  offerMetrics(metrics: InstanceMetrics): void {
    const key = `${metrics.processGuid}/${metrics.instanceId}/${metrics.instanceGuid}`
    if (!this.metrics.has(key) && this.metrics.size >= METRICS_KEPT) return
    this.metrics.set(key, metrics)
    this.wake()
  }

  wake(): void {
    this.wanted = true
    this.running ??= this.deliver().finally(() => {
      this.running = undefined
      if (this.wanted && !this.stopped) this.wake()
    })
  }

  /** True once the batch with that sequence and all before it are acknowledged; false after the timeout. */
  async settled(sequence: number, timeoutMs: number): Promise<boolean> {
    await this.exclusively(async () => undefined)
    if (this.options.spool.bytes === 0 || this.acknowledged >= sequence) return true
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), timeoutMs)
      const done = (): void => {
        clearTimeout(timer)
        resolve(true)
      }
      this.waiters.push({ sequence, resolve: done })
    })
  }

  async close(): Promise<void> {
    this.stopped = true
    this.interruptPause()
    this.caller?.destroy()
    this.caller = undefined
    await this.running
    await this.spoolQueue
  }

  private async deliver(): Promise<void> {
    // Lets whatever is sent in this turn of the loop join the same metrics batch.
    await Promise.resolve()
    while (!this.stopped) {
      this.wanted = false
      const delivered = await this.deliverNext().catch((error: unknown) => {
        this.noteAway(error)
        return 'failed' as const
      })
      if (delivered === 'nothing') {
        if (this.wanted) continue
        return
      }
      if (delivered === 'failed') await this.pause()
      else this.noteBack()
    }
  }

  private async deliverNext(): Promise<'something' | 'nothing'> {
    const batch = await this.exclusively(() => this.options.spool.peek())
    if (batch) {
      await this.post(batch.body)
      await this.exclusively(() => this.options.spool.acknowledge())
      this.noteAcknowledged(batch.sequence)
      return 'something'
    }
    if (this.metrics.size === 0) return 'nothing'
    const envelopes = this.metrics
    this.metrics = new Map()
    // Numbered apart from the lines, which may have been numbered before and be sent after.
    const sender = `${this.options.sender}/metrics`
    await this.post(Buffer.from(JSON.stringify({ sender, sequence: ++this.metricsSequence, envelopes: [...envelopes.values()] })))
    return 'something'
  }

  private async post(body: Buffer): Promise<void> {
    this.caller ??= new InternalCaller(this.options.logsUrl, 'logs', this.options.identity)
    const { status, text } = await this.caller.post('/v1/ingest', body)
    if (status < 300) return
    if (status === 400 || status === 413 || status === 422) {
      // It would be refused for ever and hold up everything behind it.
      this.options.logger.error({ status, answer: text.slice(0, 500) }, 'the log store refused a batch, its lines are lost')
      return
    }
    throw new Error(`the log store answered ${status}: ${text.slice(0, 200)}`)
  }

  private noteAcknowledged(sequence: number): void {
    this.acknowledged = sequence
    const empty = this.options.spool.bytes === 0
    const reached = this.waiters.filter((waiter) => empty || waiter.sequence <= this.acknowledged)
    this.waiters = this.waiters.filter((waiter) => !reached.includes(waiter))
    for (const { resolve } of reached) resolve()
    if (empty) this.options.onEmpty()
  }

  private noteAway(error: unknown): void {
    if (this.stopped) return
    if (!this.away) this.options.logger.warn({ err: error }, 'the log store is out of reach, lines wait in the spool')
    this.away = true
    // The next attempt dials anew, with the certificate of that moment.
    this.caller?.destroy()
    this.caller = undefined
  }

  private noteBack(): void {
    this.pauseMs = FIRST_PAUSE_MS
    if (this.away) this.options.logger.info('the log store is back')
    this.away = false
  }

  private async pause(): Promise<void> {
    if (this.stopped) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, this.pauseMs)
      this.interruptPause = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.pauseMs = Math.min(this.pauseMs * 2, LONGEST_PAUSE_MS)
  }

  private exclusively<T>(operation: () => Promise<T>): Promise<T> {
    const result = this.spoolQueue.then(operation)
    this.spoolQueue = result.catch(() => undefined)
    return result
  }
}
