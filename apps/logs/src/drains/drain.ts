import { createHash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { InstanceMetrics, SyslogDrain } from '@bloomery/contracts'
import type { TenantAddressPolicy } from '@bloomery/domain'
import type { Logger } from '@bloomery/telemetry'
import { decodeLine } from '../log-cache/envelope.js'
import type { Follower, LogStore } from '../segments/log-store.js'
import { type DrainOptions, parseDrainUrl } from './drain-options.js'
import { parseRequestTimer } from './request-timer.js'
import { formatLine, formatMetrics, formatTimer } from './rfc5424.js'
import { createTarget, type DrainTarget } from './targets.js'

/** At most so much of a log is in memory for one drain. */
const BATCH = { lines: 500, bytes: 256 * 1024, waitMs: 30_000 } as const
const MAX_WAITING_METRICS = 1_000
const RETRY = { firstMs: 500, mostMs: 30_000 } as const
/** Lines come in twos and threes; a short pause makes batches of them. */
const PACE_MS = 20
/** The same trouble is told to the app once in so long. */
const REPORT_EVERY_MS = 60_000

/** What a drain needs of the log store around it. */
export interface DrainSurroundings {
  readonly store: LogStore
  readonly policy: TenantAddressPolicy
  readonly log: Logger
  /** Writes a line into the app's own log. */
  readonly tell: (appGuid: string, text: string) => Promise<void>
  /** The position has moved and wants to be kept. */
  readonly moved: () => void
  readonly stallTimeoutMs?: number
}

/** Names the drain on disk, where its address, which may hold a password, does not belong. */
export const drainId = ({ appGuid, url }: Pick<SyslogDrain, 'appGuid' | 'url'>): string =>
  createHash('sha256').update(`${appGuid} ${url}`).digest('hex').slice(0, 32)

/**
 * One app's log on its way to one address. It reads the app's segments as any reader does, from a position of its own, so that a slow
 * or dead target costs no memory and nobody else's time; what the log gave up before it was sent is counted and told to the app.
 */
export class Drain {
  /** Timestamp of the last line that was handed over. */
  delivered: bigint
  readonly #follower: Follower
  readonly #options: DrainOptions | string
  readonly #target: DrainTarget | undefined
  readonly #stop = new AbortController()
  readonly #metrics: Buffer[] = []
  #lostMetrics = 0
  #wakeForMetrics: () => void = () => undefined
  #running: Promise<void> = Promise.resolve()
  #reportedAt = -Infinity
  #failedAt = -Infinity

  constructor(
    readonly drain: SyslogDrain,
    start: { readonly position: bigint; readonly lost: number },
    private readonly around: DrainSurroundings,
  ) {
    this.delivered = start.position
    this.#follower = { ...start }
    const url = URL.canParse(drain.url) ? new URL(drain.url) : undefined
    this.#options = url ? parseDrainUrl(url) : 'it cannot be read'
    const { policy, stallTimeoutMs } = around
    if (url && typeof this.#options !== 'string')
      this.#target = createTarget({
        drain,
        url,
        options: this.#options,
        policy: drain.trusted ? UNRESTRICTED : policy,
        ...(stallTimeoutMs === undefined ? {} : { stallTimeoutMs }),
      })
  }

  /** Lines and metrics that it will never send, as far as the app was not told yet. */
  get lost(): number {
    return this.#follower.lost + this.#lostMetrics
  }

  start(): void {
    const { store, log } = this.around
    store.addFollower(this.drain.appGuid, this.#follower)
    this.#running = this.#run().catch((error: unknown) => {
      if (!this.#stop.signal.aborted) log.error({ err: error, app: this.drain.appGuid }, 'a syslog drain ended')
    })
  }

  /** Stops; what was not handed over is sent by the next who begins at `delivered`. */
  async close(): Promise<void> {
    this.#stop.abort(new Error('the drain is closed'))
    this.#wakeForMetrics()
    await this.#running
    this.#target?.close()
    this.around.store.removeFollower(this.drain.appGuid, this.#follower)
  }

  /** Takes a measurement, if this drain wants any. */
  note(metrics: InstanceMetrics): void {
    const options = this.#options
    if (typeof options === 'string' || !options.metrics) return
    const messages = formatMetrics(this.drain, metrics, options.metadata)
    this.#metrics.push(...messages)
    const excess = this.#metrics.length - MAX_WAITING_METRICS
    if (excess > 0) {
      this.#metrics.splice(0, excess)
      this.#lostMetrics += excess
    }
    this.#wakeForMetrics()
  }

  async #run(): Promise<void> {
    const options = this.#options
    const target = this.#target
    if (typeof options === 'string' || !target) {
      await this.#tell(`Syslog drain ${this.#name()} is not used: ${typeof options === 'string' ? options : 'it cannot be read'}`)
      return
    }
    await Promise.all([
      ...(options.logs || options.traces ? [this.#drainLines(options, target)] : []),
      ...(options.metrics ? [this.#drainMetrics(target)] : []),
    ])
  }

  async #drainLines(options: DrainOptions, target: DrainTarget): Promise<void> {
    const { store, moved } = this.around
    const { signal } = this.#stop
    while (!signal.aborted) {
      const stored = await this.#untilDone('read', () => store.readNext(this.drain.appGuid, this.#follower, BATCH, signal))
      const last = stored.at(-1)
      if (!last) {
        await this.#reportLoss()
        continue
      }
      // Held in memory from here on: given up by the log, it is not lost.
      if (last.timestamp > this.#follower.position) this.#follower.position = last.timestamp
      const messages = stored.map(decodeLine).flatMap((line) => this.#messagesOf(line, options))
      if (messages.length > 0) await this.#send(target, messages)
      this.delivered = last.timestamp
      moved()
      await this.#reportLoss()
      if (stored.length < BATCH.lines) await delay(PACE_MS, undefined, { signal }).catch(() => undefined)
    }
  }

  #messagesOf(line: ReturnType<typeof decodeLine>, { logs, traces, takesSource, metadata }: DrainOptions): Buffer[] {
    const timer = traces && line.sourceType === 'RTR' ? parseRequestTimer(line.text) : undefined
    return [
      ...(logs && takesSource(line.sourceType) ? [formatLine(this.drain, line, metadata)] : []),
      ...(timer ? [formatTimer(this.drain, timer, metadata)] : []),
    ]
  }

  async #drainMetrics(target: DrainTarget): Promise<void> {
    while (!this.#stop.signal.aborted) {
      if (this.#metrics.length === 0) {
        await new Promise<void>((resolve) => {
          this.#wakeForMetrics = resolve
        })
        continue
      }
      await this.#send(target, this.#metrics.splice(0, BATCH.lines))
    }
  }

  #turn: Promise<void> = Promise.resolve()
  /** Lines and metrics take turns on the one connection. */
  #send(target: DrainTarget, messages: readonly Buffer[]): Promise<void> {
    const turn = this.#turn.then(() => this.#untilDone('reach', () => target.send(messages, this.#stop.signal)))
    this.#turn = turn.catch(() => undefined)
    return turn
  }

  /** Tries again and again, ever more slowly, until it is done or the drain is closed. */
  async #untilDone<T>(what: 'read' | 'reach', work: () => Promise<T>): Promise<T> {
    const { signal } = this.#stop
    for (let waitMs: number = RETRY.firstMs; ; waitMs = Math.min(waitMs * 2, RETRY.mostMs)) {
      try {
        return await work()
      } catch (error) {
        signal.throwIfAborted()
        if (what === 'read') this.around.log.warn({ err: error, app: this.drain.appGuid }, 'a drain could not read a log yet')
        else await this.#reportFailure(error)
        await this.#reportLoss()
        // Not all at once when a target comes back.
        await delay(waitMs * (0.75 + Math.random() / 2), undefined, { signal })
      }
    }
  }

  async #reportFailure(error: unknown): Promise<void> {
    if (performance.now() - this.#failedAt < REPORT_EVERY_MS) return
    this.#failedAt = performance.now()
    await this.#tell(`Syslog drain ${this.#name()} does not take the log and is tried again: ${this.#describe(error)}`)
  }

  async #reportLoss(): Promise<void> {
    const { lost: lines } = this.#follower
    const metrics = this.#lostMetrics
    if (lines + metrics === 0 || performance.now() - this.#reportedAt < REPORT_EVERY_MS) return
    this.#reportedAt = performance.now()
    await this.#tell(`${lines + metrics} messages lost in user provided syslog drain ${this.#name()}`)
    this.#follower.lost -= lines
    this.#lostMetrics -= metrics
    this.around.moved()
  }

  #tell(text: string): Promise<void> {
    return this.around.tell(this.drain.appGuid, text).catch((error: unknown) => {
      this.around.log.warn({ err: error, app: this.drain.appGuid }, "an app could not be told of its drain's trouble")
    })
  }

  /** The address without what may be secret in it. */
  #name(): string {
    if (!URL.canParse(this.drain.url)) return '(unreadable address)'
    const { protocol, host } = new URL(this.drain.url)
    return `${protocol}//${host}`
  }

  /** Errors of sockets may repeat the address with its password. */
  #describe(error: unknown): string {
    const { message, code } = error as { message?: unknown; code?: unknown }
    const text = typeof message === 'string' && message !== '' ? message : String(code)
    return URL.canParse(this.drain.url) && text.includes(this.drain.url) ? text.replaceAll(this.drain.url, this.#name()) : text
  }
}

/** For the addresses that a broker of the operator gave. */
const UNRESTRICTED: TenantAddressPolicy = {
  allowed: [
    { network: { address: { family: 4, value: 0n }, bits: 0 } },
    { network: { address: { family: 6, value: 0n }, bits: 0 } },
  ],
  own: [],
}
