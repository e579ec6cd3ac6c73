import { randomUUID } from 'node:crypto'
import { createRedis, type Redis } from './connection.js'

const PREFIX = 'bloomery:slots:'
const PATIENCE_MS = 500

/** Those that have run out go first; the time is Redis's own, the same for all. Answers 1 where there was room. */
const TAKE = `
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`

/** What was taken; given back once, and by itself after its time where the process dies. */
interface Slot {
  giveBack(): void
}
/** `unknown`: Redis did not answer, and whoever asks has to do with what this process knows. */
export type SlotAnswer = { readonly kind: 'taken'; readonly slot: Slot } | { readonly kind: 'full' | 'unknown' }

/** So many of a name at once, over all processes that share a Redis. Lost with it, and then counted from nothing. */
export class SharedSlots {
  readonly #redis: Redis

  /** `patienceMs`: for an answer of a Redis that is there (500 ms). */
  constructor(
    url: string,
    private readonly patienceMs = PATIENCE_MS,
  ) {
    this.#redis = createRedis(url)
  }

  /** Never throws, and never waits for a Redis that is away. `lifeMs`: how long one is held at most, the same for all of a name. */
  async take(name: string, max: number, lifeMs: number): Promise<SlotAnswer> {
    const redis = this.#redis
    if (redis.status !== 'ready') return { kind: 'unknown' }
    const [key, id] = [PREFIX + name, randomUUID()]
    const giveBack = (): void => {
      if (redis.status === 'ready') redis.zrem(key, id).catch(() => undefined)
    }
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), this.patienceMs)
    })
    const asked = redis.eval(TAKE, 1, key, max, id, Math.ceil(lifeMs))
    try {
      const answer = await Promise.race([asked, late])
      if (answer === 'late') {
        // It may be taken yet.
        asked.then(giveBack, () => undefined)
        return { kind: 'unknown' }
      }
      return answer === 1 ? { kind: 'taken', slot: { giveBack } } : { kind: 'full' }
    } catch {
      return { kind: 'unknown' }
    } finally {
      clearTimeout(timer)
    }
  }

  async close(): Promise<void> {
    if (this.#redis.status === 'ready') await this.#redis.quit().catch(() => undefined)
    this.#redis.disconnect()
  }
}
