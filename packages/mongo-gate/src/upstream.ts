import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { HEADER_BYTES } from './wire.js'

/** The server behind went away; what a client asked may have been done or not. */
export class UpstreamError extends Error {
  override readonly name = 'UpstreamError'
}

const CONNECT_PATIENCE_MS = 15_000

/** One client's own connection to the server behind; made when first needed, and again after the server was restarted. */
export class Upstream {
  #socket: Socket | undefined
  #chunks: AsyncIterator<Buffer> | undefined
  #closed = false

  constructor(private readonly path: string) {}

  /**
   * Sends one request and hands the whole answer on as it comes, piece by piece. Throws {@link UpstreamError} where the server
   * went away.
   */
  async ask(frame: Buffer, requestId: number, handOn: (chunk: Buffer) => Promise<void>): Promise<void> {
    const { socket, chunks } = await this.#open()
    // One request at a time: what the socket cannot take yet is this frame, which is held anyway.
    socket.write(frame)
    let head = Buffer.alloc(0)
    let left: number | undefined
    while (left === undefined || left > 0) {
      let chunk = await this.#next(chunks)
      if (left === undefined) {
        head = Buffer.concat([head, chunk])
        if (head.length < HEADER_BYTES) continue
        left = head.readInt32LE(0)
        if (left < HEADER_BYTES || head.readInt32LE(8) !== requestId) throw this.#broken()
        chunk = head
      }
      if (chunk.length > left) throw this.#broken()
      left -= chunk.length
      await handOn(chunk)
    }
  }

  close(): void {
    this.#closed = true
    this.#forget()
  }

  async #next(chunks: AsyncIterator<Buffer>): Promise<Buffer> {
    try {
      const next = await chunks.next()
      if (next.done !== true) return next.value
    } catch (error) {
      this.#forget()
      throw new UpstreamError('the server went away', { cause: error })
    }
    this.#forget()
    throw new UpstreamError('the server ended its connection')
  }

  #broken(): UpstreamError {
    this.#forget()
    return new UpstreamError('the server answered something that was not asked')
  }

  #forget(): void {
    this.#socket?.destroy()
    this.#socket = undefined
    this.#chunks = undefined
  }

  async #open(): Promise<{ socket: Socket; chunks: AsyncIterator<Buffer> }> {
    if (this.#socket && this.#chunks && !this.#socket.destroyed && this.#socket.readable)
      return { socket: this.#socket, chunks: this.#chunks }
    for (const end = Date.now() + CONNECT_PATIENCE_MS; !this.#closed && Date.now() < end; await delay(50)) {
      const socket = connect({ path: this.path })
      const connected = await new Promise<boolean>((resolve) => {
        socket.once('connect', () => resolve(true))
        socket.once('error', () => resolve(false))
      })
      if (!connected) continue // it is being started
      // An error shows as the end of the chunks, and as a socket that is destroyed.
      socket.on('error', () => undefined)
      socket.on('end', () => socket.destroy())
      this.#socket = socket
      this.#chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>
      return { socket, chunks: this.#chunks }
    }
    throw new UpstreamError('the server is not there')
  }
}
