import { closeSync, fstatSync, mkdirSync, openSync, renameSync, statSync, write } from 'node:fs'
import { dirname } from 'node:path'
import type { Logger } from '@bloomery/telemetry'

const FLUSH_BYTES = 64 * 1024
const FLUSH_MS = 500
/** More than this waits for a disk only when that does not keep up; then lines are dropped, and counted. */
const MAX_WAITING_BYTES = 4 * 1024 * 1024

/**
 * The access log as a file. Lines are gathered and appended in one write, so that several workers can share the file. When it has
 * grown too large it is renamed to `<path>.1`, in the place of the one before; workers notice and open the new one.
 */
export class AccessFile {
  #fd: number
  #lines = ''
  #writing = false
  #dropped = 0
  readonly #timer: NodeJS.Timeout

  /** Throws where the file cannot be opened. */
  constructor(
    private readonly path: string,
    private readonly maxBytes: number,
    private readonly log: Logger,
  ) {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    this.#fd = openSync(path, 'a', 0o600)
    this.#timer = setInterval(() => this.#tend(), FLUSH_MS)
    this.#timer.unref()
  }

  add(line: string): void {
    if (this.#lines.length > MAX_WAITING_BYTES) {
      this.#dropped++
      return
    }
    this.#lines += `${line}\n`
    if (this.#lines.length >= FLUSH_BYTES) this.#flush(() => undefined)
  }

  /** Writes what waits. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await new Promise<void>((resolve) => {
      const again = (): void => {
        if (this.#writing) setImmediate(again)
        else if (this.#lines === '') resolve()
        else this.#flush(again)
      }
      again()
    })
    closeSync(this.#fd)
  }

  #flush(done: () => void): void {
    if (this.#writing || this.#lines === '') return
    this.#writing = true
    const batch = Buffer.from(this.#lines)
    this.#lines = ''
    write(this.#fd, batch, 0, batch.length, null, (error) => {
      this.#writing = false
      if (error) this.log.error({ err: error, path: this.path }, 'access lines lost: the file cannot be written')
      done()
    })
  }

  #tend(): void {
    if (this.#dropped > 0) {
      this.log.error({ path: this.path, lines: this.#dropped }, 'access lines lost: the disk does not keep up')
      this.#dropped = 0
    }
    this.#flush(() => undefined)
    if (this.#writing) return
    try {
      this.#rotate()
    } catch (error) {
      this.log.error({ err: error, path: this.path }, 'the access log cannot be rotated')
    }
  }

  #rotate(): void {
    const ours = fstatSync(this.#fd)
    const present = statSync(this.path, { throwIfNoEntry: false })
    const isCurrent = present?.ino === ours.ino && present.dev === ours.dev
    if (isCurrent && ours.size < this.maxBytes) return
    if (isCurrent) renameSync(this.path, `${this.path}.1`)
    const before = this.#fd
    this.#fd = openSync(this.path, 'a', 0o600)
    closeSync(before)
  }
}
