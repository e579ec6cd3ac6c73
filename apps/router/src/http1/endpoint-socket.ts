import { readSync } from 'node:fs'
import { Socket } from 'node:net'

const PIECE_BYTES = 64 * 1024
const ONE_BYTE = Buffer.alloc(1)

/**
 * A connection to an endpoint. An endpoint may answer early and close while a body is still being sent to it; then the write fails
 * before the answer has been read. What the system still holds of it is read before the connection is let go of.
 */
export class EndpointSocket extends Socket {
  /** Asks the system, which knows of an end before the event loop tells it. A byte that came unasked is lost: then it is not quiet. */
  isQuiet(): boolean {
    const fd = this.#fd
    if (fd < 0) return false
    try {
      readSync(fd, ONE_BYTE)
      return false
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'EAGAIN'
    }
  }

  get #fd(): number {
    const { _handle: handle } = this as unknown as { readonly _handle?: { readonly fd?: number } | null }
    return handle?.fd ?? -1
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (error) this.#readLast()
    super._destroy(error, callback)
  }

  #readLast(): void {
    const fd = this.#fd
    if (fd < 0 || this.listenerCount('last-data') === 0) return
    for (;;) {
      const piece = Buffer.allocUnsafe(PIECE_BYTES)
      const length = readOrNothing(fd, piece)
      if (length === 0) return
      this.emit('last-data', piece.subarray(0, length))
    }
  }
}

/** The socket does not block, so with nothing to read this is an error at once. */
function readOrNothing(fd: number, into: Buffer): number {
  try {
    return readSync(fd, into)
  } catch {
    return 0
  }
}
