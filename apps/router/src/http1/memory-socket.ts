import { Duplex } from 'node:stream'

/** One end of a connection within this process; what one writes the other reads, as fast as it does. */
export class MemorySocket extends Duplex {
  #peer: MemorySocket | undefined
  #taken: (() => void) | undefined

  private constructor() {
    super({ allowHalfOpen: true })
  }

  static pair(): [MemorySocket, MemorySocket] {
    const [one, other] = [new MemorySocket(), new MemorySocket()]
    one.#peer = other
    other.#peer = one
    return [one, other]
  }

  override _read(): void {
    const taken = this.#taken
    this.#taken = undefined
    taken?.()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: () => void): void {
    const peer = this.#peer
    if (!peer || peer.destroyed || chunk.length === 0) return callback()
    peer.#taken = callback
    peer.push(chunk)
  }

  override _final(callback: () => void): void {
    this.#peer?.push(null)
    callback()
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    const peer = this.#peer
    this.#peer = undefined
    // The other end sees what a socket's peer sees: an end, or a break when this one broke.
    if (peer && !peer.destroyed) setImmediate(() => peer.destroy(error ?? undefined))
    callback(error)
  }
}
