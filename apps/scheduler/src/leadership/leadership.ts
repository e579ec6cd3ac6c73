import { setTimeout as delay } from 'node:timers/promises'
import { acquireLease, releaseLease, seizeLease, tryAdvisoryLock, type Lease, type Pool } from '@bloomery/database/sql'
import type { Logger } from '@bloomery/telemetry'

const NAME = 'scheduler'

/** A span of leading: from taking the lease until it is lost or given back. */
export interface Term {
  readonly lease: Lease
  /** Aborted once the term has ended. */
  readonly signal: AbortSignal
}

export interface LeadershipOptions {
  readonly pool: Pool
  /** New for each process, so that a restart begins a new term. */
  readonly holder: string
  readonly ttlMs: number
  readonly retryMs: number
  readonly log: Logger
  /** Resolves when it has let go; called once per term. */
  readonly lead: (term: Term) => Promise<void>
  /** Another scheduler leads. */
  readonly onFollowing: () => void
}

/**
 * Leads whenever it can. The advisory lock lets a successor take over in milliseconds when the leader's process dies; the lease row
 * carries the fencing token that every write repeats.
 */
export class Leadership {
  readonly #stop = new AbortController()
  readonly #done: Promise<void>

  constructor(readonly options: LeadershipOptions) {
    this.#done = this.#run()
  }

  async close(): Promise<void> {
    this.#stop.abort()
    await this.#done
  }

  async #run(): Promise<void> {
    const { retryMs, log } = this.options
    while (!this.#stop.signal.aborted) {
      try {
        await this.#attempt()
      } catch (error) {
        log.warn({ err: error }, 'cannot lead now, will try again')
      }
      await delay(retryMs, undefined, { signal: this.#stop.signal }).catch(() => undefined)
    }
  }

  async #attempt(): Promise<void> {
    const { pool, holder, ttlMs, log } = this.options
    const lock = await tryAdvisoryLock(pool, `bloomery:${NAME}`)
    if (!lock) return this.options.onFollowing()
    try {
      const lease = await seizeLease(pool, NAME, holder, ttlMs)
      log.info({ leaseToken: String(lease.token) }, 'leading')
      const term = new AbortController()
      const led = this.options.lead({ lease, signal: term.signal })
      const reason = await Promise.race([
        this.#holdUntilLost(lease),
        lock.lost.then(() => 'the connection to the database ended'),
      ])
      term.abort()
      await led
      log.info({ leaseToken: String(lease.token), reason }, 'no longer leading')
      if (this.#stop.signal.aborted) await releaseLease(pool, lease).catch(() => undefined)
    } finally {
      await lock.release()
    }
  }

  /** Renews until that fails for a whole time to live; resolves with the reason for the end. */
  async #holdUntilLost(lease: Lease): Promise<string> {
    const { pool, holder, ttlMs } = this.options
    let renewedAt = performance.now()
    while (!this.#stop.signal.aborted) {
      await delay(ttlMs / 3, undefined, { signal: this.#stop.signal }).catch(() => undefined)
      if (this.#stop.signal.aborted) break
      const renewed = await Promise.race([
        acquireLease(pool, NAME, holder, ttlMs).catch(() => 'failed' as const),
        delay(ttlMs / 3, 'failed' as const, { ref: false }),
      ])
      if (renewed === undefined || (renewed !== 'failed' && renewed.token !== lease.token)) return 'another scheduler took over'
      if (renewed !== 'failed') renewedAt = performance.now()
      else if (performance.now() - renewedAt > ttlMs) return 'the lease could not be renewed'
    }
    return 'shutting down'
  }
}
