import { ArchiveError } from './archive-error.js'

/** What an archive may hold at most. */
export interface ArchiveLimits {
  readonly maxEntries: number
  /** All files together, unpacked. */
  readonly maxBytes: number
  /** Unpacked bytes per packed byte; looked at only beyond 64 MiB, since small files of zeros are harmless. */
  readonly maxRatio: number
}

/** For app packages: a gigabyte as uploaded, four when unpacked. */
export const PACKAGE_LIMITS: ArchiveLimits = { maxEntries: 200_000, maxBytes: 4 * 1024 ** 3, maxRatio: 200 }

const RATIO_MATTERS_FROM_BYTES = 64 * 1024 ** 2

/** Adds up entries and bytes and throws as soon as a limit is passed. */
export class LimitCounter {
  #entries = 0
  #bytes = 0
  constructor(readonly limits: ArchiveLimits) {}

  addEntry(): void {
    this.#entries += 1
    if (this.#entries > this.limits.maxEntries)
      throw new ArchiveError('too-large', `The archive has more than ${this.limits.maxEntries} entries.`)
  }

  addBytes(count: number): void {
    this.#bytes += count
    if (this.#bytes > this.limits.maxBytes)
      throw new ArchiveError('too-large', `The archive unpacks to more than ${this.limits.maxBytes} bytes.`)
  }

  /** `packedBytes`: what has been read of the archive for all that was counted so far. */
  checkRatio(packedBytes: number): void {
    if (this.#bytes > RATIO_MATTERS_FROM_BYTES && this.#bytes > packedBytes * this.limits.maxRatio)
      throw new ArchiveError('too-large', `The archive unpacks to more than ${this.limits.maxRatio} times its size.`)
  }
}
