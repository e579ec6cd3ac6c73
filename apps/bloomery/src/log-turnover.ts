import { copyFileSync, readdirSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'

const LIMIT_BYTES = 16 * 1024 * 1024
const LOOK_EVERY_MS = 60_000

/** Keeps the logs of the platform's own processes bounded: one that has grown too large is copied to `.1` and emptied. */
export class LogTurnover {
  #timer: NodeJS.Timeout | undefined
  constructor(readonly folder: string) {}

  start(): void {
    this.#timer = setInterval(() => this.look(), LOOK_EVERY_MS)
    this.#timer.unref()
  }

  /** Writers append, so they go on at the beginning of the emptied file. */
  look(limit = LIMIT_BYTES): void {
    for (const name of readdirSync(this.folder)) {
      if (!name.endsWith('.log')) continue
      const path = join(this.folder, name)
      if (statSync(path).size <= limit) continue
      copyFileSync(path, `${path}.1`)
      truncateSync(path, 0)
    }
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}
