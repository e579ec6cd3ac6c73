import { MalformedError } from './bson-structure.js'
import { HEADER_BYTES } from './wire.js'

/** How many bytes of unfinished requests all connections may hold together; who comes late waits without being read from. */
export class ByteBudget {
  #left: number
  readonly #waiting: { bytes: number; grant: () => void }[] = []

  constructor(bytes: number) {
    this.#left = bytes
  }

  async take(bytes: number): Promise<void> {
    if (this.#waiting.length === 0 && bytes <= this.#left) {
      this.#left -= bytes
      return
    }
    await new Promise<void>((grant) => this.#waiting.push({ bytes, grant }))
  }

  give(bytes: number): void {
    this.#left += bytes
    for (let [next] = this.#waiting; next && next.bytes <= this.#left; [next] = this.#waiting) {
      this.#waiting.shift()
      this.#left -= next.bytes
      next.grant()
    }
  }
}

export interface FrameLimits {
  /** Asked anew for each frame: it is small before a login. */
  readonly maxBytes: () => number
  readonly budget: ByteBudget
  /** From a frame's first byte to its last. */
  readonly patienceMs: number
  /** The frame did not come to an end in time. */
  readonly onLate: () => void
}

/** Frames up to this size are not counted: as much waits in a socket's buffers anyway. */
const UNCOUNTED_BYTES = 64 * 1024

/**
 * Cuts a stream into whole frames, one at a time: nothing is read on until the one before has been dealt with. Throws
 * {@link MalformedError} for a length that cannot be, before anything is kept for it; a stream that ends within a frame ends this.
 */
export async function* readFrames(stream: AsyncIterable<Buffer>, limits: FrameLimits): AsyncGenerator<Buffer> {
  const head = Buffer.alloc(4)
  let headBytes = 0
  let frame: Buffer | undefined
  let frameBytes = 0
  let counted = 0
  let timer: NodeJS.Timeout | undefined
  try {
    for await (const chunk of stream) {
      for (let at = 0; at < chunk.length;) {
        timer ??= setTimeout(limits.onLate, limits.patienceMs)
        if (!frame) {
          const taken = chunk.copy(head, headBytes, at)
          at += taken
          headBytes += taken
          if (headBytes < head.length) continue
          const length = head.readInt32LE(0)
          if (length < HEADER_BYTES || length > limits.maxBytes())
            throw new MalformedError(`a message of ${length} bytes is not taken`)
          if (length > UNCOUNTED_BYTES) {
            await limits.budget.take(length)
            counted = length
          }
          frame = Buffer.allocUnsafe(length)
          frameBytes = head.copy(frame)
          headBytes = 0
        }
        const taken = chunk.copy(frame, frameBytes, at)
        at += taken
        frameBytes += taken
        if (frameBytes < frame.length) continue
        clearTimeout(timer)
        timer = undefined
        yield frame
        frame = undefined
        limits.budget.give(counted)
        counted = 0
      }
    }
  } finally {
    clearTimeout(timer)
    limits.budget.give(counted)
  }
}
