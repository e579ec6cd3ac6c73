import type { Duplex } from 'node:stream'
import { DirectWriter } from './direct-write.js'
import { prefixed, writeCopied } from './read-buffer.js'

/** Up to here text and bytes go out as one string: by the stream, where that costs less than several buffers, or past it. */
const GATHER_BYTES = { stream: 16 * 1024, direct: 2 * 1024 } as const
/** More than this waiting for the peer means that it is slow. */
const HIGH_WATER_BYTES = 64 * 1024

/**
 * What one side of a connection is to be sent. Small parts are gathered and leave as one write; whoever has written calls
 * {@link flush} at the end of its turn.
 */
export class Outgoing {
  /** Latin-1: each character is a byte. */
  #gathered = ''
  readonly #direct: DirectWriter
  readonly #gatherBytes: number

  constructor(private readonly socket: Duplex) {
    this.#direct = new DirectWriter(socket)
    this.#gatherBytes = this.#direct.isPossible ? GATHER_BYTES.direct : GATHER_BYTES.stream
  }

  text(text: string): void {
    this.#gathered += text
  }

  bytes(bytes: Buffer): void {
    if (this.#gathered.length + bytes.length <= this.#gatherBytes) {
      this.#gathered += bytes.toString('latin1')
      return
    }
    const text = this.#gathered
    const joined = text === '' ? bytes : prefixed(text, bytes)
    if (!joined) {
      this.socket.cork()
      this.flush()
      writeCopied(this.socket, bytes)
      this.socket.uncork()
      return
    }
    this.#gathered = ''
    const taken = this.#direct.take(joined)
    if (taken < joined.length) writeCopied(this.socket, taken === 0 ? joined : joined.subarray(taken))
  }

  /** Bytes as one chunk of a chunked body. */
  chunk(bytes: Buffer): void {
    if (bytes.length === 0) return
    this.#gathered += `${bytes.length.toString(16)}\r\n`
    this.bytes(bytes)
    this.#gathered += '\r\n'
  }

  flush(): void {
    if (this.#gathered === '') return
    const text = this.#gathered
    this.#gathered = ''
    if (!this.#direct.write(text)) this.socket.write(text, 'latin1')
  }

  /** Bytes that went past the socket's own account of them. */
  get taken(): number {
    return this.#direct.taken
  }

  /** Bytes that the system has not taken yet; less and less while the peer reads. */
  get queued(): number {
    const waiting = this.socket.writableLength + this.#direct.pending
    return waiting === 0 ? 0 : (this.#direct.queued ?? waiting)
  }

  /** Whether the peer takes more. If not, 'drain' is emitted once it does. */
  get isSlow(): boolean {
    return this.socket.writableLength + this.#direct.pending > HIGH_WATER_BYTES
  }
}
