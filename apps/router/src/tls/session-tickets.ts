import { randomBytes } from 'node:crypto'
import { linkSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Logger } from '@bloomery/telemetry'

/** A name, a key for the cipher and one for the check: what OpenSSL takes. */
const KEY_BYTES = 48
/** Then new keys take their place and the old ones are gone: what was recorded before can't be opened by them. */
const LIFETIME_MS = 12 * 60 * 60_000
const LOOK_EVERY_MS = 60_000

/**
 * Keys of TLS session tickets, the same for all workers: a client that comes back resumes its session whichever of them accepts it.
 * They lie in one file that any worker makes anew when it is old. Without it each worker has keys of its own, and clients shake hands
 * in full.
 */
export class SessionTickets {
  #keys: Buffer | undefined
  #timer: NodeJS.Timeout | undefined

  private constructor(
    private readonly path: string,
    private readonly use: (keys: Buffer) => void,
    private readonly log: Logger,
  ) {}

  static follow(path: string, use: (keys: Buffer) => void, log: Logger): SessionTickets {
    const tickets = new SessionTickets(path, use, log)
    tickets.look()
    tickets.#timer = setInterval(() => tickets.look(), LOOK_EVERY_MS)
    tickets.#timer.unref()
    return tickets
  }

  /** Takes up what the file says now. */
  look(): void {
    try {
      this.#renew()
      const keys = readFileSync(this.path)
      if (keys.length !== KEY_BYTES) return rmSync(this.path, { force: true })
      if (this.#keys?.equals(keys) === true) return
      this.#keys = keys
      this.use(keys)
    } catch (error) {
      this.log.warn({ err: error, path: this.path }, 'no shared keys for TLS session tickets')
    }
  }

  close(): void {
    clearInterval(this.#timer)
  }

  /** Several may do so at once: each writes a file of its own, and the first to give it the name has it. */
  #renew(): void {
    const madeAt = statSync(this.path, { throwIfNoEntry: false })?.mtimeMs
    if (madeAt !== undefined && madeAt > Date.now() - LIFETIME_MS) return
    const own = `${this.path}.${process.pid}`
    mkdirSync(dirname(this.path), { recursive: true, mode: 0o700 })
    rmSync(this.path, { force: true })
    writeFileSync(own, randomBytes(KEY_BYTES), { mode: 0o600 })
    try {
      linkSync(own, this.path)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    } finally {
      rmSync(own, { force: true })
    }
  }
}
