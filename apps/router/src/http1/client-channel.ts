import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import { presentAnswer, type AnswerName } from '../answers.js'
import type { ErrorPage } from '../error-pages/error-page.js'
import type { RouterAnswer } from '../proxy/router-answer.js'
import { Exchange, type ClientConnection } from '../proxy/exchange.js'
import { RawHeaders } from '../proxy/raw-headers.js'
import type { AnswerSink } from './answer-sink.js'
import type { Clock } from './clock.js'
import { MessageParser } from './message-parser.js'
import { Outgoing } from './outgoing.js'
import { keepable, readInto } from './read-buffer.js'
import { Relay, type RelayDeps } from './relay.js'

/** Requests that a client sent ahead wait in up to this much memory, then it has to wait, too. */
const MAX_AHEAD_BYTES = 64 * 1024
/** What is left of a request's body after an answer of the router's own: up to this much is read and dropped. */
const MAX_SKIPPED_BYTES = 64 * 1024
/** A client that has ended its side and is owed an answer is given up after this long without progress: it may be gone altogether. */
const HALF_CLOSED_MS = 2_000
const TCP_KEEP_ALIVE_MS = 60_000

export interface ClientChannelDeps extends RelayDeps {
  readonly clock: Clock
  readonly errorPage: ErrorPage
  readonly isDraining: () => boolean
  readonly onClosed: (channel: ClientChannel) => void
}

/**
 * - `head`: between requests, or in a head; `sized`, `chunked`: in a request's body
 * - `answer`: the request is read, its answer is not yet out
 * - `raw`: switched to another protocol; `closing`: what still comes is dropped; `dead`
 */
type State = 'head' | 'sized' | 'chunked' | 'answer' | 'raw' | 'closing' | 'dead'

/** One connection of a client: reads its requests one after another and hands each to a relay. */
export class ClientChannel implements AnswerSink {
  readonly out: Outgoing
  /** A time of the plane's clock after which the present wait has taken too long. */
  deadline: number
  /** The connection ends after the present answer. */
  closeAfter = false
  readonly #parser = new MessageParser('request')
  #state: State = 'head'
  #relay: Relay | undefined
  #remaining = 0
  #ahead: Buffer | undefined
  #reading = false
  /** The client has said that it sends no further request. */
  #saidLast = false
  #paused = false
  #ended = false
  #written = -1
  /** What waited for a client that is to have its answer before the end. */
  #queued = 0

  constructor(
    private readonly socket: Socket,
    readonly facts: ClientConnection,
    private readonly deps: ClientChannelDeps,
  ) {
    this.out = new Outgoing(socket)
    this.deadline = deps.clock.now + deps.limits.headMs
    readInto(socket, (chunk) => this.#onData(chunk))
    socket.on('end', () => this.#onEnd())
    socket.on('error', () => this.destroy())
    socket.on('close', () => this.destroy())
    socket.on('drain', () => this.#relay?.onClientDrain())
  }

  /** Whether no request is under way. */
  get isIdle(): boolean {
    return this.#state === 'head' && !this.#parser.hasBegun
  }

  /** Whether the present request has been read to its end. */
  get requestIsComplete(): boolean {
    return this.#state !== 'sized' && this.#state !== 'chunked'
  }

  /** The endpoint is slow: the client has to wait with its body. */
  pauseBody(): void {
    this.deadline = Infinity
    this.#pause()
  }

  resumeBody(): void {
    if (!this.requestIsComplete) this.deadline = this.deps.clock.now + this.deps.limits.bodyIdleMs
    this.#resume()
  }

  /** Sends an answer of the router's own. */
  writeAnswer(exchange: Exchange, plain: RouterAnswer): void {
    const answer = this.deps.errorPage(plain)
    if (answer.close || exchange.upgrade !== undefined || !this.#canSkipBody(exchange)) this.closeAfter = true
    const { outcome } = exchange
    outcome.status = answer.status
    outcome.routerError = answer.routerError
    const head = `HTTP/1.1 ${answer.status} ${answer.reason}\r\n${RawHeaders.from(answer.headers).toLines()}`
    this.out.text(`${head}Date: ${this.deps.clock.date}\r\n${this.connectionLine(exchange)}\r\n`)
    if (exchange.method === 'HEAD') return
    const body = Buffer.from(answer.body)
    outcome.responseBytes = body.length
    this.out.bytes(body)
  }

  /** The line that tells the client whether the connection stays; it is final from then on. */
  connectionLine({ httpVersion }: Exchange): string {
    if (this.#isLast()) this.closeAfter = true
    if (this.closeAfter) return 'Connection: close\r\n'
    return httpVersion === '1.0' ? 'Connection: keep-alive\r\n' : ''
  }

  /** The answer is out: the next request's turn, or the end. */
  finish(): void {
    this.#relay = undefined
    this.out.flush()
    if (this.#state === 'dead') return
    if (this.#state === 'raw') return this.#close()
    if (this.closeAfter || this.#ended) return this.#isThrough ? this.#part() : this.#close()
    if (!this.requestIsComplete) {
      // The client may go on sending for a while; when it ends, its next request is read as usual.
      this.deadline = this.deps.clock.now + this.deps.limits.lingerMs
      this.#resume()
      return
    }
    this.#nextRequest()
  }

  /** From here on the connection carries no HTTP any more. */
  switchToRaw(): void {
    this.#state = 'raw'
    this.deadline = Infinity
    this.#parser.free()
    this.socket.setKeepAlive(true, TCP_KEEP_ALIVE_MS)
    const ahead = this.#ahead
    this.#ahead = undefined
    this.#resume()
    if (ahead) {
      this.#relay?.onClientRaw(ahead)
      this.#relay?.onRequestTurnEnd()
    }
    if (this.#ended) this.#relay?.onClientRawEnd()
  }

  /** Ends this side of a switched connection. */
  endRaw(): void {
    this.out.flush()
    this.socket.end()
  }

  /** The deadline has passed. */
  expire(): void {
    switch (this.#state) {
      case 'head':
        if (this.#parser.hasBegun) return this.#refuse('requestTimeout')
        return this.#close()
      case 'answer':
        if (this.#ended && this.#written !== this.#bytesOut) return this.#watchHalfClosed()
        return this.destroy()
      case 'closing': {
        const { queued } = this.out
        // It still takes what it was answered.
        if (queued > 0 && queued !== this.#queued) return this.#beginClosing()
        return this.destroy()
      }
      default:
        this.destroy()
    }
  }

  /** Ends it when it is idle; else after the present answer, since the plane drains. */
  closeIfIdle(): void {
    if (this.isIdle) this.#close()
  }

  destroy(): void {
    if (this.#state === 'dead') return
    this.#state = 'dead'
    this.deadline = Infinity
    this.#parser.free()
    this.socket.destroy()
    this.deps.onClosed(this)
    const relay = this.#relay
    this.#relay = undefined
    relay?.onClientGone()
  }

  /** Whether what is left of the body is little, and sure to come: then it is read and dropped, and the connection stays. */
  #canSkipBody({ expectsContinue }: Exchange): boolean {
    return this.requestIsComplete || (this.#state === 'sized' && this.#remaining <= MAX_SKIPPED_BYTES && !expectsContinue)
  }

  #isLast(): boolean {
    return this.#ended || this.deps.isDraining()
  }

  #onData(chunk: Buffer): void {
    if (this.#ahead) {
      this.#ahead = Buffer.concat([this.#ahead, chunk])
      if (this.#ahead.length > MAX_AHEAD_BYTES) this.#pause()
      return
    }
    this.#read(chunk)
  }

  #read(chunk: Buffer): void {
    this.#reading = true
    let from = 0
    while (from < chunk.length && this.#state !== 'dead') {
      switch (this.#state) {
        case 'head':
          from = this.#readHead(chunk, from)
          break
        case 'sized': {
          const to = Math.min(chunk.length, from + this.#remaining)
          this.#remaining -= to - from
          this.#relay?.onRequestBody(from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to))
          from = to
          if (this.#remaining === 0) this.#onRequestEnd(undefined)
          break
        }
        case 'chunked':
          from = this.#readChunks(chunk, from)
          break
        case 'answer':
          this.#ahead = keepable(chunk.subarray(from))
          from = chunk.length
          break
        case 'raw':
          this.#relay?.onClientRaw(from === 0 ? chunk : chunk.subarray(from))
          from = chunk.length
          break
        case 'closing':
          from = chunk.length
          break
      }
    }
    this.#reading = false
    if (this.#state === 'sized' || this.#state === 'chunked') {
      if (!this.#paused && this.#relay) this.deadline = this.deps.clock.now + this.deps.limits.bodyIdleMs
    }
    this.#relay?.onRequestTurnEnd()
    this.out.flush()
  }

  #readHead(chunk: Buffer, from: number): number {
    const parser = this.#parser
    const begun = parser.hasBegun && !parser.done
    const stopped = parser.readHead(chunk, from)
    if (parser.error !== undefined) this.#refuse('badRequest', 'Malformed request')
    else if (parser.headBytes > this.deps.limits.maxHeadBytes) this.#refuse('headTooLarge')
    else if (parser.done) this.#onHead()
    else if (!begun) this.deadline = this.deps.clock.now + this.deps.limits.headMs
    return stopped
  }

  #onHead(): void {
    const parser = this.#parser
    const { httpVersion, keepAlive } = parser
    const headers = parser.takeFields()
    const exchange = new Exchange(
      { method: parser.method, target: parser.target, httpVersion, headers },
      this.facts,
      randomUUID(),
      performance.timeOrigin + performance.now(),
    )
    this.closeAfter = !keepAlive
    this.#saidLast = !keepAlive
    this.deadline = Infinity
    // Until the steps have read how the body is delimited nothing after the head is touched.
    this.#state = 'answer'
    const relay = new Relay(this.deps, this, exchange)
    this.#relay = relay
    const disposition = relay.decide()
    if (exchange.framing === 'sized') {
      this.#state = 'sized'
      this.#remaining = Number(headers.get('content-length'))
    } else if (exchange.framing === 'chunked') {
      this.#state = 'chunked'
      parser.startBody()
    }
    if (exchange.hasBody) this.#saidLast = false
    relay.start(disposition)
  }

  #readChunks(chunk: Buffer, from: number): number {
    const parser = this.#parser
    const stopped = parser.readChunks(chunk, from)
    const { spans } = parser
    for (let i = 0; i < spans.length; i += 2) {
      const at = spans[i] ?? 0
      this.#relay?.onRequestBody(chunk.subarray(at, at + (spans[i + 1] ?? 0)))
    }
    if (parser.error !== undefined) {
      if (this.#relay) this.#relay.onMalformedBody()
      else this.#close()
    } else if (parser.done) this.#onRequestEnd(parser.takeFields())
    return stopped
  }

  #onRequestEnd(trailers: RawHeaders | undefined): void {
    this.#state = 'answer'
    this.deadline = Infinity
    if (this.#relay) this.#relay.onRequestEnd(trailers)
    // It was answered before its end.
    else this.#nextRequest()
  }

  #nextRequest(): void {
    this.#state = 'head'
    this.#parser.rest()
    this.deadline = this.deps.clock.now + this.deps.limits.idleMs
    if (this.#reading) return
    const ahead = this.#ahead
    this.#ahead = undefined
    this.#resume()
    if (ahead) this.#read(ahead)
  }

  /** What cannot be read as a request is refused, and the connection ends: nobody knows where the next request would begin. */
  #refuse(name: AnswerName, detail = ''): void {
    const answer = this.deps.errorPage(presentAnswer(name, { host: '', detail }))
    const head = `HTTP/1.1 ${answer.status} ${answer.reason}\r\n${RawHeaders.from(answer.headers).toLines()}`
    this.out.text(`${head}Date: ${this.deps.clock.date}\r\nConnection: close\r\n\r\n${answer.body}`)
    this.#close()
  }

  /** Sends what there is to send, then ends; what the client still sends is read for a while, or it would miss the answer. */
  #close(): void {
    this.out.flush()
    this.#ahead = undefined
    this.#beginClosing()
    this.#resume()
    if (this.#ended) this.socket.destroySoon()
    else this.socket.end()
  }

  /**
   * Whether nothing more is to be read: the client asked for the end itself, with a request without a body, and has sent nothing
   * behind it.
   */
  get #isThrough(): boolean {
    return this.#saidLast && this.#state === 'answer' && !this.#reading && !this.#ahead
  }

  /** Ends both directions, without waiting for the client to end its own. */
  #part(): void {
    // The other side of TLS is told.
    if (!this.facts.secure && this.out.queued === 0) return this.destroy()
    this.#beginClosing()
    this.#resume()
    this.socket.destroySoon()
  }

  #beginClosing(): void {
    this.#state = 'closing'
    this.#queued = this.out.queued
    this.deadline = this.deps.clock.now + this.deps.limits.lingerMs
  }

  #onEnd(): void {
    this.#ended = true
    switch (this.#state) {
      case 'raw':
        return this.#relay?.onClientRawEnd()
      case 'answer':
        return this.#watchHalfClosed()
      case 'head':
      case 'closing':
        this.#state = 'closing'
        this.out.flush()
        return this.socket.destroySoon()
      default:
        // Half a body: whoever sent it is gone.
        this.destroy()
    }
  }

  #watchHalfClosed(): void {
    this.#written = this.#bytesOut
    this.deadline = this.deps.clock.now + HALF_CLOSED_MS
  }

  get #bytesOut(): number {
    return this.socket.bytesWritten + this.out.taken
  }

  #pause(): void {
    if (this.#paused) return
    this.#paused = true
    this.socket.pause()
  }

  #resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.socket.resume()
  }
}
