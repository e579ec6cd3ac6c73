import type { Nudges } from '@bloomery/queues'

/**
 * Long polls: the client asks for jobs, builds, deployments and stats every 3 s only, so an answer that would say "not yet" waits
 * until something changed or a little under that time. Hints may be lost (then it re-reads every 500 ms, which also covers a missing Redis).
 */
export class Changes {
  readonly #waiting = new Map<string, Set<() => void>>()
  readonly #stopListening: () => void

  constructor(
    nudges: Nudges,
    readonly maxWaitMs: number,
  ) {
    this.#stopListening = nudges.listen((nudge) => {
      if (nudge.topic === 'changed') this.announce(nudge.kind, nudge.guid)
    })
  }

  /** Wakes those who wait here; changes made by this very process need not travel through Redis. */
  announce(kind: string, guid: string): void {
    for (const wake of this.#waiting.get(`${kind}:${guid}`) ?? []) wake()
  }

  /** Reads until `settled`, at most for the long poll's time; answers the last reading. `signal`: the client went away. */
  async readWhenSettled<T>(
    kind: string,
    guid: string,
    read: () => Promise<T>,
    settled: (value: T) => boolean,
    signal?: AbortSignal,
  ): Promise<T> {
    const deadline = Date.now() + this.maxWaitMs
    let value = await read()
    const first = JSON.stringify(value, replaceBigints)
    while (!settled(value) && !signal?.aborted && Date.now() < deadline) {
      await this.#next(`${kind}:${guid}`, Math.min(500, deadline - Date.now()))
      value = await read()
      if (JSON.stringify(value, replaceBigints) !== first) return value
    }
    return value
  }

  #next(key: string, timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(key) ?? new Set()
      this.#waiting.set(key, waiting)
      const done = () => {
        clearTimeout(timer)
        waiting.delete(done)
        if (waiting.size === 0 && this.#waiting.get(key) === waiting) this.#waiting.delete(key)
        resolve()
      }
      const timer = setTimeout(done, Math.max(timeoutMs, 1))
      waiting.add(done)
    })
  }

  close(): void {
    this.#stopListening()
    for (const waiting of this.#waiting.values()) for (const wake of waiting) wake()
  }
}
const replaceBigints = (_key: string, value: unknown): unknown => (typeof value === 'bigint' ? value.toString() : value)
