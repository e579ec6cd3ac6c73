const FIRST_BYTES = 16 * 1024
/** A larger one was made for a burst, and is not kept for the next. */
const MAX_KEPT_BYTES = 1024 * 1024
const NONE = Buffer.alloc(0)
const COMMA = 44

/**
 * Envelopes that wait for their batch, as bytes outside of the heap: as strings they would outlive collections of garbage, and under
 * load a process would do little else than carry them along.
 */
export class LineBatch {
  #bytes = NONE
  #length = 0

  /** Bytes so far. */
  get length(): number {
    return this.#length
  }

  add(json: string): void {
    // No character of a string takes more than three bytes.
    const most = json.length * 3 + 1
    if (this.#bytes.length - this.#length < most) this.#grow(this.#length + most)
    if (this.#length > 0) this.#bytes[this.#length++] = COMMA
    this.#length += this.#bytes.write(json, this.#length)
  }

  /** All of it between the two, as one buffer of the caller's own; from then on there is nothing. */
  take(before: string, after: string): Buffer {
    const taken = Buffer.concat([Buffer.from(before), this.#bytes.subarray(0, this.#length), Buffer.from(after)])
    this.#length = 0
    if (this.#bytes.length > MAX_KEPT_BYTES) this.#bytes = NONE
    return taken
  }

  #grow(least: number): void {
    let size = Math.max(this.#bytes.length, FIRST_BYTES)
    while (size < least) size *= 2
    const larger = Buffer.allocUnsafeSlow(size)
    this.#bytes.copy(larger, 0, 0, this.#length)
    this.#bytes = larger
  }
}
