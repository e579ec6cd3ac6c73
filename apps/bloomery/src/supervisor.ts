import { setTimeout as delay } from 'node:timers/promises'
import { isAlive, type ProcessIdentity } from '@bloomery/embedded'
import type { EventLog } from './event-log.js'

/** A process that shall run: started, or found running, and stopped at the end. */
export interface Ward {
  readonly name: string
  /** Finds it running or starts it. */
  ensure(): Promise<{ readonly identity: ProcessIdentity; readonly adopted: boolean }>
  stop(): Promise<void>
}

const LOOK_EVERY_MS = 250
const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 10_000
const SETTLED_AFTER_MS = 60_000

/** Keeps wards running: one that died is started again, at once the first time, with growing pauses if it keeps dying. */
export class Supervisor {
  readonly #wards = new Map<string, { ward: Ward; done: Promise<void> }>()
  readonly #stopping = new AbortController()

  constructor(readonly log: EventLog) {}

  /** Resolves when the ward runs for the first time, rejects if it cannot be started at all. */
  async add(ward: Ward): Promise<{ adopted: boolean }> {
    const { identity, adopted } = await ward.ensure()
    this.#wards.set(ward.name, { ward, done: this.#watch(ward, identity) })
    return { adopted }
  }

  async #watch(ward: Ward, first: ProcessIdentity): Promise<void> {
    let identity = first
    let pause = FIRST_PAUSE_MS
    let since = Date.now()
    while (await this.#wait(LOOK_EVERY_MS)) {
      if (isAlive(identity)) continue
      if (Date.now() - since > SETTLED_AFTER_MS) pause = FIRST_PAUSE_MS
      this.log.write('a process ended and is started again', { process: ward.name, pid: identity.pid, pauseMs: pause })
      if (!(await this.#wait(pause))) return
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS)
      since = Date.now()
      try {
        identity = (await ward.ensure()).identity
      } catch (error) {
        this.log.write('a process could not be started; trying again', { process: ward.name, reason: String(error) })
      }
    }
  }

  /** False once stopping. */
  async #wait(ms: number): Promise<boolean> {
    if (this.#stopping.signal.aborted) return false
    await delay(ms, undefined, { signal: this.#stopping.signal }).catch(() => undefined)
    return !this.#stopping.signal.aborted
  }

  /** Nothing is started any more from here on. */
  async release(): Promise<void> {
    this.#stopping.abort()
    await Promise.all([...this.#wards.values()].map(({ done }) => done))
  }

  async stop(names: readonly string[]): Promise<void> {
    await Promise.all(names.map(async (name) => this.#wards.get(name)?.ward.stop()))
  }
}
