import { closeSync, fstatSync, mkdirSync, openSync, renameSync, statSync, write } from 'node:fs'
import { dirname } from 'node:path'
import type { Logger } from '@bloomery/telemetry'

const FLUSH_BYTES = 64 * 1024
const FLUSH_MS = 500
const NEWLINE = 10
/** More than this waits for a disk only when that does not keep up; then lines are dropped, and counted. */
const MAX_WAITING_BYTES = 4 * 1024 * 1024

/**
 * The access log as a file. Lines are gathered and appended in one write, so that several workers can share the file. When it has
 * grown too large it is renamed to `<path>.1`, in the place of the one before; workers notice and open the new one.
 */
export class AccessFile {
  #fd: number
  /** As bytes outside of the heap: as strings they would be carried along by each collection of garbage. */
  #lines = Buffer.allocUnsafeSlow(2 * FLUSH_BYTES)
  #waiting = 0
  /** What is written now, later the place for the next lines. */
  #other = Buffer.allocUnsafeSlow(2 * FLUSH_BYTES)
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
    if (this.#waiting > MAX_WAITING_BYTES) {
      this.#dropped++
      return
    }
    // No character of a string takes more than three bytes.
    const most = this.#waiting + line.length * 3 + 1
    if (most > this.#lines.length) this.#grow(most)
    this.#waiting += this.#lines.write(line, this.#waiting)
    this.#lines[this.#waiting++] = NEWLINE
    if (this.#waiting >= FLUSH_BYTES) this.#flush(() => undefined)
  }

  /** Writes what waits. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await new Promise<void>((resolve) => {
      const again = (): void => {
        if (this.#writing) setImmediate(again)
        else if (this.#waiting === 0) resolve()
        else this.#flush(again)
      }
      again()
    })
    closeSync(this.#fd)
  }

  #flush(done: () => void): void {
    if (this.#writing || this.#waiting === 0) return
    this.#writing = true
    const batch = this.#lines
    write(this.#fd, batch, 0, this.#waiting, null, (error) => {
      this.#writing = false
      // It grew while the disk did not keep up.
      if (batch.length > 2 * FLUSH_BYTES) this.#other = Buffer.allocUnsafeSlow(2 * FLUSH_BYTES)
      if (error) this.log.error({ err: error, path: this.path }, 'access lines lost: the file cannot be written')
      done()
    })
    this.#lines = this.#other
    this.#other = batch
    this.#waiting = 0
  }

  #grow(least: number): void {
    let size = this.#lines.length
    while (size < least) size *= 2
    const larger = Buffer.allocUnsafeSlow(size)
    this.#lines.copy(larger, 0, 0, this.#waiting)
    this.#lines = larger
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
