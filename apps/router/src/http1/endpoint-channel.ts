import type { Duplex } from 'node:stream'
import { coded, DIAL_TIMEOUT, RESPONSE_TIMEOUT, type Phase } from '../failures.js'
import { readFraming } from '../proxy/framing.js'
import { LIMITS } from '../proxy/limits.js'
import type { RawHeaders } from '../proxy/raw-headers.js'
import { connectEventOf } from '../tls/instance-tls.js'
import { MessageParser } from './message-parser.js'
import { Outgoing } from './outgoing.js'
import { EndpointSocket } from './endpoint-socket.js'
import { readInto } from './read-buffer.js'

/** How an answer's body is delimited. `close`: by the end of the connection. */
export type ResponseFraming = 'none' | 'sized' | 'chunked' | 'close'

export interface ResponseHead {
  readonly status: number
  readonly reason: string
  readonly headers: RawHeaders
  readonly framing: ResponseFraming
}

/** Who waits for the answer on a channel. */
export interface ResponseListener {
  /** The connection stands. */
  onConnected(): void
  onHead(head: ResponseHead): void
  onBody(chunk: Buffer): void
  onTrailers(trailers: RawHeaders): void
  onResponseEnd(): void
  /** Bytes after the switch to another protocol. */
  onRaw(chunk: Buffer): void
  /** The endpoint has ended its direction of a switched connection. */
  onRawEnd(): void
  /** Nothing more will come; before the answer's end that is a failure. */
  onFailed(error: NodeJS.ErrnoException): void
  /** The endpoint takes more of the body again. */
  onDrain(): void
  /** All that one read has brought was told. */
  onTurnEnd(): void
}

/** Who keeps channels between requests. */
export interface ChannelOwner {
  /** The channel can carry another request. `idleMs`: how long it stays usable as the endpoint says, Infinity where it says nothing. */
  onIdle(channel: EndpointChannel, idleMs: number): void
  onClosed(channel: EndpointChannel): void
}

type State = 'idle' | 'head' | 'sized' | 'chunked' | 'close' | 'raw' | 'dead'

/** One connection to an endpoint, which carries one request at a time. */
export class EndpointChannel {
  readonly out: Outgoing
  /** A time of the plane's clock after which the present wait has taken too long. */
  deadline = Infinity
  /** Requests that it has carried to their end. */
  served = 0
  readonly #parser = new MessageParser('response')
  #state: State = 'idle'
  #listener: ResponseListener | undefined
  #remaining = 0
  #reusable = true
  #idleMs = Infinity
  #paused = false

  constructor(
    readonly key: string,
    private readonly socket: Duplex,
    private connecting: boolean,
    private readonly owner: ChannelOwner,
  ) {
    this.out = new Outgoing(socket)
    readInto(socket, (chunk) => this.#onData(chunk))
    socket.on('last-data', (chunk: Buffer) => this.#onData(chunk))
    socket.on('end', () => this.#onEnd())
    socket.on('error', (error: NodeJS.ErrnoException) => this.#fail(error))
    socket.on('close', () => this.#fail(coded('ECONNRESET', 'the connection was closed')))
    socket.on('drain', () => this.#listener?.onDrain())
    if (connecting)
      socket.once(connectEventOf(socket), () => {
        this.connecting = false
        this.deadline = Infinity
        this.#listener?.onConnected()
      })
  }

  get phase(): Phase {
    if (this.connecting) return 'connecting'
    return this.served > 0 ? 'reused-connection' : 'fresh-connection'
  }

  get isDead(): boolean {
    return this.#state === 'dead'
  }

  /** Whether the endpoint has neither closed the idle connection nor said anything on it, as far as the system knows. */
  isQuiet(): boolean {
    return !(this.socket instanceof EndpointSocket) || this.socket.isQuiet()
  }

  /** Takes the channel for one request. Unless it is still connecting, the head may be written at once. */
  begin(listener: ResponseListener, bodiless: boolean): void {
    this.#listener = listener
    this.#state = 'head'
    this.#parser.bodiless = bodiless
  }

  /** The wait for the answer begins. */
  awaitAnswer(deadline: number): void {
    if (this.#state === 'head') this.deadline = deadline
  }

  /** The deadline has passed. */
  expire(): void {
    this.#fail(this.connecting ? coded(DIAL_TIMEOUT, 'no connection in time') : coded(RESPONSE_TIMEOUT, 'no response in time'))
  }

  /** Gives the answer's reader time. */
  pause(): void {
    if (this.#paused) return
    this.#paused = true
    this.socket.pause()
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.socket.resume()
  }

  /** Ends this side of a switched connection. */
  endRaw(): void {
    this.out.flush()
    this.socket.end()
  }

  /** Lets go of the channel after its answer is complete; `clean`: the request went out whole, too. */
  release(clean: boolean): void {
    this.#listener = undefined
    this.deadline = Infinity
    if (this.#state === 'dead') return
    if (!clean || !this.#reusable || this.#state !== 'idle') return this.destroy()
    this.resume()
    this.served++
    this.owner.onIdle(this, this.#idleMs)
  }

  /** Cuts the connection; nobody is told. */
  destroy(): void {
    this.#listener = undefined
    this.#bury()
    this.socket.destroy()
  }

  #bury(): void {
    if (this.#state === 'dead') return
    this.#state = 'dead'
    this.deadline = Infinity
    this.#parser.free()
    this.owner.onClosed(this)
  }

  #fail(error: NodeJS.ErrnoException): void {
    if (this.#state === 'dead') return
    const listener = this.#listener
    this.#listener = undefined
    this.#bury()
    this.socket.destroy()
    listener?.onFailed(error)
    listener?.onTurnEnd()
  }

  #onEnd(): void {
    switch (this.#state) {
      case 'raw':
        return this.#listener?.onRawEnd()
      case 'close':
        this.#state = 'idle'
        this.#reusable = false
        this.#listener?.onResponseEnd()
        return this.#listener?.onTurnEnd()
      default:
        this.#fail(coded('ECONNRESET', 'the connection was closed'))
    }
  }

  #onData(chunk: Buffer): void {
    let from = 0
    while (from < chunk.length) {
      switch (this.#state) {
        case 'head':
          from = this.#readHead(chunk, from)
          break
        case 'sized': {
          const to = Math.min(chunk.length, from + this.#remaining)
          const part = from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to)
          this.#remaining -= to - from
          from = to
          if (this.#remaining === 0) this.#complete(chunk.length - from)
          this.#listener?.onBody(part)
          if (this.#remaining === 0) this.#listener?.onResponseEnd()
          break
        }
        case 'chunked':
          from = this.#readChunks(chunk, from)
          break
        case 'close':
          this.#listener?.onBody(from === 0 ? chunk : chunk.subarray(from))
          from = chunk.length
          break
        case 'raw':
          this.#listener?.onRaw(from === 0 ? chunk : chunk.subarray(from))
          from = chunk.length
          break
        case 'idle':
          // Nobody asked for it: whatever follows would be taken for an answer to the next request.
          this.#reusable = false
          if (!this.#listener) this.destroy()
          from = chunk.length
          break
        case 'dead':
          return
      }
    }
    this.#listener?.onTurnEnd()
  }

  #readHead(chunk: Buffer, from: number): number {
    const parser = this.#parser
    const stopped = parser.readHead(chunk, from)
    if (parser.error !== undefined) this.#fail(coded('HPE_INVALID', `malformed response: ${parser.error}`))
    else if (parser.headBytes > LIMITS.maxHeadBytes) this.#fail(coded('HPE_HEADER_OVERFLOW', 'response head too large'))
    else if (parser.done) this.#onHead(chunk.length - stopped)
    return stopped
  }

  #onHead(left: number): void {
    const parser = this.#parser
    const { status, reason, httpVersion } = parser
    const headers = parser.takeFields()
    parser.done = false
    if (status < 100) return this.#fail(coded('HPE_INVALID', `malformed response: status ${status}`))
    if (status === 101) {
      this.#state = 'raw'
      this.#reusable = false
      this.deadline = Infinity
      parser.free()
      return this.#listener?.onHead({ status, reason, headers, framing: 'none' })
    }
    if (status < 200) return this.#listener?.onHead({ status, reason, headers, framing: 'none' })
    this.deadline = Infinity
    const framing = this.#framingOf(headers, status, httpVersion)
    if (framing === undefined) return
    this.#reusable = parser.keepAlive && framing !== 'close' && httpVersion === '1.1'
    const hint = headers.get('keep-alive')
    if (hint !== undefined) this.#idleMs = idleTimeOf(hint)
    if (framing === 'none') this.#complete(left)
    else this.#state = framing
    this.#listener?.onHead({ status, reason, headers, framing })
    if (framing === 'none') this.#listener?.onResponseEnd()
  }

  /** The answer has been read. What is left was not asked for, and would be taken for the answer to the next request. */
  #complete(left: number): void {
    this.#state = 'idle'
    if (left > 0) this.#reusable = false
  }

  /** undefined: refused, and the channel has failed. */
  #framingOf(headers: RawHeaders, status: number, httpVersion: string): ResponseFraming | undefined {
    if (httpVersion !== '1.1' && httpVersion !== '1.0') {
      this.#fail(coded('HPE_INVALID_VERSION', 'malformed response: unsupported version'))
      return undefined
    }
    const framing = readFraming(headers, httpVersion)
    if (framing.kind === 'refused') {
      this.#fail(coded('HPE_INVALID', `malformed response: ${framing.why}`))
      return undefined
    }
    if (this.#parser.bodiless || status === 204 || status === 304) return 'none'
    if (framing.kind === 'sized') {
      this.#remaining = framing.bytes
      return 'sized'
    }
    if (framing.kind === 'chunked') return 'chunked'
    return headers.has('content-length') ? 'none' : 'close'
  }

  #readChunks(chunk: Buffer, from: number): number {
    const parser = this.#parser
    const stopped = parser.readChunks(chunk, from)
    const { spans } = parser
    for (let i = 0; i < spans.length; i += 2) {
      const at = spans[i] ?? 0
      this.#listener?.onBody(chunk.subarray(at, at + (spans[i + 1] ?? 0)))
    }
    if (parser.error !== undefined) this.#fail(coded('HPE_INVALID', `malformed response: ${parser.error}`))
    else if (parser.done) {
      parser.done = false
      this.#complete(chunk.length - stopped)
      const trailers = parser.takeFields()
      if (trailers.size > 0) this.#listener?.onTrailers(trailers)
      this.#listener?.onResponseEnd()
    }
    return stopped
  }
}

/** `timeout=5`: a little less, so that a request does not meet the endpoint's close. */
function idleTimeOf(hint: string): number {
  const seconds = Number(/(?:^|[,\s])timeout=(\d{1,6})/i.exec(hint)?.[1] ?? Infinity)
  return Math.max(seconds - 1, 0) * 1000
}
