import { presentAnswer } from '../answers.js'
import type { RouterAnswer } from '../proxy/router-answer.js'
import { attemptError, isReplayable, reuseFor, type Reuse } from '../failures.js'
import type { Logger } from '@bloomery/telemetry'
import type { Exchange } from '../proxy/exchange.js'
import type { Disposition } from '../proxy/disposition.js'
import type { Forwarding, Target } from '../proxy/forwarding.js'
import type { Handler } from '../proxy/handler.js'
import type { Limits } from '../proxy/limits.js'
import type { RawHeaders } from '../proxy/raw-headers.js'
import { toClientHeaders } from '../proxy/response-headers.js'
import { removeHopByHop } from '../proxy/hop-by-hop-headers.js'
import type { AnswerSink } from './answer-sink.js'
import type { Clock } from './clock.js'
import { keepable } from './read-buffer.js'
import type { EndpointChannel, ResponseHead, ResponseListener } from './endpoint-channel.js'

export interface RelayDeps {
  readonly decide: (exchange: Exchange) => Disposition
  readonly record: (exchange: Exchange, finishedAt: number) => void
  readonly clock: Clock
  readonly limits: Limits
  readonly log: Logger
  readonly acquire: (target: Target, reuse: Reuse) => EndpointChannel
  /** A channel within this process to a handler. */
  readonly openHandler: (exchange: Exchange, handler: Handler) => EndpointChannel
}

/** Fields that a trailer must not carry. */
const NOT_IN_TRAILERS = ['content-length', 'host', 'content-encoding', 'content-type', 'authorization', 'set-cookie', 'trailer']

/** Carries one request to its endpoint and the answer back, neither faster than the other side takes it. */
export class Relay implements ResponseListener {
  #forwarding: Forwarding | undefined
  #target: Target | undefined
  #channel: EndpointChannel | undefined
  /** The head is out to the endpoint, so the body may follow. */
  #headSent = false
  /** The body waits for the endpoint's or the clock's word. */
  #awaitsContinue = false
  #continueTimer: NodeJS.Timeout | undefined
  #held: Buffer[] = []
  #requestEnded = false
  #requestTrailers: RawHeaders | undefined
  #trailers: RawHeaders | undefined
  #answerBegun = false
  #chunkedOut = false
  #over = false
  #raw = false

  constructor(
    private readonly deps: RelayDeps,
    private readonly client: AnswerSink,
    private readonly exchange: Exchange,
  ) {}

  /** Asks the steps. A fault of the router's own costs one request, never the process. */
  decide(): Disposition {
    try {
      return this.deps.decide(this.exchange)
    } catch (error) {
      return { do: 'answer', answer: this.#panic(error) }
    }
  }

  start(disposition: Disposition): void {
    switch (disposition.do) {
      case 'answer':
        return this.#answer(disposition.answer)
      case 'handle':
        this.#held = []
        this.#requestEnded = this.client.requestIsComplete
        return this.#open(this.deps.openHandler(this.exchange, disposition.handler))
      case 'forward':
        this.#forwarding = disposition.forwarding
        this.#requestEnded = this.client.requestIsComplete
        this.#next()
    }
  }

  onRequestBody(chunk: Buffer): void {
    this.exchange.outcome.requestBytes += chunk.length
    if (this.#over) return
    if (!this.#headSent || this.#awaitsContinue) this.#held.push(keepable(chunk))
    else this.#sendBody(chunk)
  }

  onRequestEnd(trailers: RawHeaders | undefined): void {
    this.#requestEnded = true
    this.#requestTrailers = trailers
    if (this.#headSent && !this.#awaitsContinue) this.#sendEnd()
  }

  /** One read of the client's bytes is through. */
  onRequestTurnEnd(): void {
    if (this.#over) return
    const channel = this.#channel
    if (!channel) return this.#holdClient()
    if (!this.#headSent || this.#awaitsContinue) return this.#holdClient()
    channel.out.flush()
    if (channel.out.isSlow && (this.#raw || !this.#requestEnded)) this.client.pauseBody()
  }

  /** The client's chunks are no chunks. */
  onMalformedBody(): void {
    this.#drop()
    if (this.#answerBegun) return this.client.destroy()
    this.client.closeAfter = true
    this.#answer(presentAnswer('badRequest', { host: this.exchange.hostHeader, detail: 'Malformed chunked body' }))
  }

  onClientDrain(): void {
    this.#channel?.resume()
  }

  onClientRaw(chunk: Buffer): void {
    this.exchange.outcome.requestBytes += chunk.length
    this.#channel?.out.bytes(chunk)
  }

  onClientRawEnd(): void {
    this.#channel?.endRaw()
  }

  onClientGone(): void {
    if (this.#over) return
    this.#drop()
    this.exchange.outcome.status ??= 499
    this.#end()
  }

  onConnected(): void {
    this.#sendHead()
    this.#channel?.out.flush()
  }

  onHead(head: ResponseHead): void {
    const { status } = head
    if (status === 101) return this.#switch(head)
    if (status === 100) return this.#continueBody()
    if (status < 200) return this.#inform(head)
    this.#stopWaiting()
    const { exchange, client, deps } = this
    const { headers, framing } = head
    toClientHeaders(exchange, headers)
    this.#forwarding?.answered(headers)
    if (status === 204) headers.remove('content-length')
    const unknownLength = framing === 'chunked' || framing === 'close'
    this.#chunkedOut = unknownLength && exchange.httpVersion !== '1.0'
    if (this.#chunkedOut) headers.append('Transfer-Encoding', 'chunked')
    else if (unknownLength) client.closeAfter = true
    // An answer other than the switch: what the client sent ahead was meant for another protocol.
    if (exchange.upgrade !== undefined) client.closeAfter = true
    // An endpoint that refuses before the end of the body: the client shall not send the rest for nothing.
    if (status >= 400 && !client.requestIsComplete) client.closeAfter = true
    if (!headers.has('date')) headers.append('Date', deps.clock.date)
    exchange.outcome.status = status
    this.#answerBegun = true
    client.out.text(`HTTP/1.1 ${status} ${head.reason}\r\n${headers.toLines()}${client.connectionLine(exchange)}\r\n`)
  }

  onBody(chunk: Buffer): void {
    this.exchange.outcome.responseBytes += chunk.length
    if (this.#chunkedOut) this.client.out.chunk(chunk)
    else this.client.out.bytes(chunk)
  }

  onTrailers(trailers: RawHeaders): void {
    this.#trailers = trailers
  }

  onResponseEnd(): void {
    if (this.#chunkedOut) this.client.out.text(lastChunk(this.#trailers))
    const channel = this.#channel
    this.#channel = undefined
    channel?.release(this.#requestEnded && this.#headSent && !this.#awaitsContinue)
    this.#end()
    this.client.finish()
  }

  onTurnEnd(): void {
    if (this.#over) return
    this.client.out.flush()
    if (this.client.out.isSlow) this.#channel?.pause()
  }

  onRaw(chunk: Buffer): void {
    this.exchange.outcome.responseBytes += chunk.length
    this.client.out.bytes(chunk)
  }

  onRawEnd(): void {
    this.client.endRaw()
  }

  onDrain(): void {
    this.client.resumeBody()
  }

  onFailed(error: NodeJS.ErrnoException): void {
    const channel = this.#channel
    this.#channel = undefined
    if (this.#raw) {
      this.#end()
      return this.client.finish()
    }
    if (this.#answerBegun) {
      this.exchange.outcome.routerError ??= 'endpoint_failure (response cut off)'
      this.#end()
      return this.client.destroy()
    }
    const target = this.#target
    const forwarding = this.#forwarding
    const facts = { phase: channel?.phase ?? 'fresh-connection', replayable: isReplayable(this.exchange) }
    if (!forwarding || !target) {
      const detail = attemptError(facts, { host: 'handler', port: 0 }, error).message
      return this.#answer(presentAnswer('endpointFailure', { host: this.exchange.hostHeader, detail }))
    }
    this.#stopWaiting()
    this.#headSent = false
    forwarding.failed(attemptError(facts, target, error))
    this.#next()
  }

  #next(): void {
    const { exchange, deps } = this
    const forwarding = this.#forwarding
    if (!forwarding || this.#over) return
    try {
      const step = forwarding.next()
      switch (step.do) {
        case 'answer':
          return this.#answer(step.answer)
        case 'wait':
          setTimeout(() => this.#next(), step.forMs)
          return
        case 'handle':
          return this.#open(deps.openHandler(exchange, step.handler))
        case 'try':
          this.#target = step.target
          return this.#open(deps.acquire(step.target, step.fresh ? 'new' : reuseFor(exchange)))
      }
    } catch (error) {
      this.#answer(this.#panic(error))
    }
  }

  #open(channel: EndpointChannel): void {
    this.#channel = channel
    channel.begin(this, this.exchange.method === 'HEAD')
    if (channel.phase === 'connecting') return this.#holdClient()
    this.#sendHead()
    channel.out.flush()
  }

  #sendHead(): void {
    const { exchange, deps } = this
    const channel = this.#channel
    if (!channel) return
    this.#headSent = true
    channel.out.text(`${exchange.method} ${exchange.target} HTTP/1.1\r\n${exchange.headers.toLines()}\r\n`)
    if (exchange.expectsContinue) {
      this.#awaitsContinue = true
      this.#continueTimer = setTimeout(() => {
        this.#continueBody()
        this.client.out.flush()
      }, this.deps.limits.continueMs)
    } else this.#sendHeld()
    if (this.#requestEnded) channel.awaitAnswer(deps.clock.now + deps.limits.responseMs)
  }

  /** What came of the body so far, and its end if that came, too. */
  #sendHeld(): void {
    const held = this.#held
    this.#held = []
    for (const chunk of held) this.#sendBody(chunk)
    if (this.#requestEnded && this.exchange.hasBody) this.#sendEnd()
    else this.client.resumeBody()
    this.#channel?.out.flush()
  }

  #sendBody(chunk: Buffer): void {
    const channel = this.#channel
    if (!channel) return
    if (this.#chunksRequest) channel.out.chunk(chunk)
    else channel.out.bytes(chunk)
  }

  #sendEnd(): void {
    const channel = this.#channel
    if (!channel) return
    if (this.#chunksRequest) channel.out.text(lastChunk(this.#requestTrailers))
    channel.awaitAnswer(this.deps.clock.now + this.deps.limits.responseMs)
  }

  get #chunksRequest(): boolean {
    return this.exchange.framing === 'chunked' || this.exchange.framing === 'stream'
  }

  /** The endpoint wants the body, or has been silent about it for long enough. */
  #continueBody(): void {
    if (!this.#awaitsContinue) return
    this.#stopWaiting()
    this.client.out.text('HTTP/1.1 100 Continue\r\n\r\n')
    this.#sendHeld()
  }

  #stopWaiting(): void {
    this.#awaitsContinue = false
    clearTimeout(this.#continueTimer)
  }

  #holdClient(): void {
    if (!this.#requestEnded && this.#held.length > 0) this.client.pauseBody()
  }

  /** Passes on word that the answer is still to come. */
  #inform({ status, reason, headers }: ResponseHead): void {
    if (this.exchange.httpVersion === '1.0') return
    removeHopByHop(headers, { keepTrailer: false })
    headers.remove('content-length', 'x-cf-proxy-signature')
    this.client.out.text(`HTTP/1.1 ${status} ${reason}\r\n${headers.toLines()}\r\n`)
  }

  #switch({ reason, headers }: ResponseHead): void {
    const { exchange, client } = this
    if (exchange.upgrade === undefined) {
      this.#drop()
      const detail = 'the endpoint switched protocols without being asked'
      return this.#answer(presentAnswer('endpointFailure', { host: exchange.hostHeader, detail }))
    }
    headers.remove('x-cf-proxy-signature', 'content-length', 'transfer-encoding')
    if (!headers.has('x-vcap-request-id')) headers.append('X-Vcap-Request-Id', exchange.requestId)
    exchange.outcome.status = 101
    this.#answerBegun = true
    this.#raw = true
    this.#forwarding?.switched()
    client.out.text(`HTTP/1.1 101 ${reason || 'Switching Protocols'}\r\n${headers.toLines()}\r\n`)
    client.switchToRaw()
  }

  #answer(answer: RouterAnswer): void {
    this.#drop()
    if (this.#answerBegun) {
      this.#end()
      return this.client.destroy()
    }
    this.client.writeAnswer(this.exchange, answer)
    this.#end()
    this.client.finish()
  }

  #panic(error: unknown): RouterAnswer {
    this.deps.log.error({ err: error, requestId: this.exchange.requestId }, 'unexpected failure while serving a request')
    return presentAnswer('unknownFailure', { host: this.exchange.hostHeader })
  }

  #drop(): void {
    this.#stopWaiting()
    const channel = this.#channel
    this.#channel = undefined
    channel?.destroy()
  }

  #end(): void {
    if (this.#over) return
    this.#over = true
    this.#stopWaiting()
    this.#held = []
    try {
      this.#forwarding?.end()
      this.deps.record(this.exchange, performance.timeOrigin + performance.now())
    } catch (error) {
      this.deps.log.error({ err: error }, 'a request could not be recorded')
    }
  }
}

function lastChunk(trailers: RawHeaders | undefined): string {
  if (!trailers || trailers.size === 0) return '0\r\n\r\n'
  removeHopByHop(trailers, { keepTrailer: false })
  trailers.remove(...NOT_IN_TRAILERS)
  return `0\r\n${trailers.toLines()}\r\n`
}
