import { setTimeout as delay } from 'node:timers/promises'
import { ClientError } from './errors.js'

/** How long to wait for a change, and what to say when it does not come. */
export interface Changing {
  readonly timeoutMs?: number
  readonly what?: string
  readonly signal?: AbortSignal
}

/** A look at what is not done yet; it may reject, and so end the waiting. */
export interface Waiting<T> extends Changing {
  readonly whileWaiting?: (value: T) => Promise<void>
}

const SHORTEST_GAP_MS = 100
const LONGEST_GAP_MS = 1_000
/** An answer that took so long was held back until something changed. */
const HELD_MS = 1_000

/**
 * Asks until `done`. A server that holds its answer until something changes is asked again at once; one that
 * answers immediately is asked ever more seldom, down to once a second.
 */
export async function pollUntil<T>(ask: () => Promise<T>, done: (value: T) => boolean, options: Waiting<T> = {}): Promise<T> {
  const { timeoutMs = 15 * 60_000, what = 'what was waited for', signal, whileWaiting } = options
  const deadline = Date.now() + timeoutMs
  for (let gap = SHORTEST_GAP_MS; ;) {
    const asked = Date.now()
    const value = await ask()
    if (done(value)) return value
    await whileWaiting?.(value)
    if (Date.now() > deadline)
      throw new ClientError('timeout', `Timed out after ${Math.round(timeoutMs / 1000)} s waiting for ${what}.`)
    gap = Date.now() - asked >= HELD_MS ? SHORTEST_GAP_MS : Math.min(gap * 1.3, LONGEST_GAP_MS)
    await delay(gap, undefined, signal ? { signal } : {})
  }
}
