import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream, type IncomingHttpHeaders } from 'node:http2'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect as dial } from 'node:net'
import { types } from 'node:util'
import { presentAnswer } from '../answers.js'
import { type ErrorPage, plainPage } from '../error-pages/error-page.js'
import { attemptError, coded, DIAL_TIMEOUT, isReplayable, RESPONSE_TIMEOUT, type AttemptError, type Phase } from '../failures.js'
import type { Exchange } from '../proxy/exchange.js'
import type { Forwarding, NextTry, Target } from '../proxy/forwarding.js'
import type { InstanceTls } from '../tls/instance-tls.js'
import { LIMITS, type Limits } from '../proxy/limits.js'
import { RawHeaders } from '../proxy/raw-headers.js'
import { toClientHeaders } from '../proxy/response-headers.js'
import { answerBy, answeringTo, fromHttp2, toHttp2 } from './answering.js'
import { Http1Attempts, type HeldCall } from './http1-attempts.js'

/** One connection to an instance, and how many requests are under way on it. */
interface Link {
  readonly opening: Promise<ClientHttp2Session>
  session: ClientHttp2Session | undefined
  streams: number
}

/** The right to one request on a connection. */
interface Place {
  readonly session: ClientHttp2Session
  /** The request is over. */
  leave(): void
  /** The connection takes no more requests; the next one opens another. */
  drop(): void
}

/** Connections to instances that speak HTTP/2, by prior knowledge: one for each, and more when it has as many requests as it takes. */
export class Http2Endpoints {
  readonly #links = new Map<string, Link[]>()
  /** For requests that go on to an instance of their route that speaks HTTP/1.1. */
  readonly http1: Http1Attempts

  constructor(
    readonly limits: Limits = LIMITS,
    private readonly instanceTls?: InstanceTls,
    /** How the router's own errors look. */
    readonly errorPage: ErrorPage = plainPage,
  ) {
    this.http1 = new Http1Attempts(limits, instanceTls)
  }

  /** Resolves when there is a connection; rejects with the reason why there is none. */
  async enter(target: Target): Promise<Place> {
    const links = this.#links.get(target.key) ?? []
    const link = links.find((each) => each.streams < capacityOf(each)) ?? this.#open(target)
    link.streams++
    const leave = once(() => void link.streams--)
    try {
      const session = await link.opening
      return { session, leave, drop: () => this.#drop(target.key, link) }
    } catch (error) {
      leave()
      throw error
    }
  }

  /** Closes what leads to an instance that is gone, once its requests are answered. */
  forget(key: string): void {
    this.http1.forget(key)
    const links = this.#links.get(key) ?? []
    this.#links.delete(key)
    for (const { opening } of links)
      opening.then(
        (session) => session.close(),
        () => undefined,
      )
  }

  close(): void {
    for (const key of [...this.#links.keys()]) this.forget(key)
    this.http1.close()
  }

  #open(target: Target): Link {
    const { key } = target
    const link: Link = { opening: openSession(target, this.limits.dialMs, this.instanceTls), session: undefined, streams: 0 }
    const links = this.#links.get(key)
    if (links) links.push(link)
    else this.#links.set(key, [link])
    const forget = (): void => this.#drop(key, link)
    link.opening.then((session) => {
      link.session = session
      session.once('close', forget)
      session.once('goaway', forget)
      session.setTimeout(this.limits.endpointIdleMs, () => {
        // Silence is no end of requests that are under way.
        if (link.streams === 0) session.close()
      })
    }, forget)
    return link
  }

  #drop(key: string, link: Link): void {
    const links = this.#links.get(key)
    const at = links?.indexOf(link) ?? -1
    if (!links || at === -1) return
    links.splice(at, 1)
    if (links.length === 0) this.#links.delete(key)
  }
}

/** Requests that an instance takes on one connection: as it says, and not more than suits one. */
const MAX_STREAMS = 1_000
function capacityOf({ session }: Link): number {
  if (session === undefined) return MAX_STREAMS
  if (session.closed || session.destroyed) return 0
  return Math.min(session.remoteSettings.maxConcurrentStreams ?? MAX_STREAMS, MAX_STREAMS)
}

function once(act: () => void): () => void {
  let done = false
  return () => {
    if (done) return
    done = true
    act()
  }
}

function openSession(target: Target, dialMs: number, instanceTls: InstanceTls | undefined): Promise<ClientHttp2Session> {
  return new Promise((resolve, reject) => {
    const { host, port, tls } = target
    const socket = tls && instanceTls ? instanceTls.open(target, ['h2']) : dial({ host, port, noDelay: true })
    const session = connect(`http://${host.includes(':') ? `[${host}]` : host}:${port}`, {
      settings: { enablePush: false, initialWindowSize: LIMITS.streamWindowBytes },
      createConnection: () => socket,
    })
    const timer = setTimeout(() => {
      reject(coded(DIAL_TIMEOUT, 'no connection in time'))
      // The session's own end would wait for that of the dial.
      socket.destroy()
    }, dialMs)
    session.once('error', reject)
    session.once('connect', () => {
      clearTimeout(timer)
      session.off('error', reject)
      // Streams tell what failed; the session only ends.
      session.on('error', () => session.destroy())
      resolve(session)
    })
    session.once('close', () => {
      clearTimeout(timer)
      reject(new Error('the connection ended'))
    })
  })
}

/**
 * Takes tries at instances that speak HTTP/2 out of the data plane's hands; the policy stays the other forwarding's. The data plane gives
 * the request away with that, so whatever is tried after such a try, by either protocol, is tried from here.
 */
export class Http2Forwarding implements Forwarding {
  constructor(
    private readonly inner: Forwarding,
    private readonly exchange: Exchange,
    private readonly endpoints: Http2Endpoints,
  ) {}

  next(): NextTry {
    const step = this.inner.next()
    if (step.do !== 'try' || !this.#isHttp2) return step
    return {
      do: 'handle',
      handler: (exchange, request, response) =>
        this.#tryHttp2({ exchange, request, response, answering: answeringTo(response) }, step.target),
    }
  }
  failed(error: AttemptError): void {
    this.inner.failed(error)
  }
  answered(headers: RawHeaders): void {
    this.inner.answered(headers)
  }
  switched(): void {
    this.inner.switched()
  }
  end(): void {
    this.inner.end()
  }

  get #isHttp2(): boolean {
    return this.exchange.outcome.endpoint?.protocol === 'http2'
  }

  #tryHttp2(call: HandedCall, target: Target): void {
    this.endpoints.enter(target).then(
      (place) => this.#passOn(place, call, target),
      (error: unknown) => this.#failed(call, target, 'connecting', asError(error)),
    )
  }

  #passOn({ session, leave, drop }: Place, call: HandedCall, target: Target): void {
    const { exchange, response, answering } = call
    if (answering.isGone) return leave()
    const { outcome } = exchange
    let stream: ClientHttp2Stream
    try {
      stream = session.request(
        {
          ...toHttp2(exchange.headers),
          ':method': exchange.method,
          ':path': exchange.target,
          ':authority': exchange.hostHeader,
          ':scheme': 'http',
        },
        exchange.hasBody ? { endStream: false, waitForTrailers: true } : { endStream: true },
      )
    } catch (error) {
      // It ended a moment ago, and nothing was sent.
      leave()
      drop()
      return this.#failed(call, target, 'reused-connection', asError(error), true)
    }
    let timer: NodeJS.Timeout | undefined
    const awaitAnswer = (): void => {
      if (answering.hasHead || stream.destroyed) return
      const late = coded(RESPONSE_TIMEOUT, 'no response in time')
      timer = setTimeout(() => stream.destroy(late), this.endpoints.limits.responseMs)
    }
    const clientGone = (): void => {
      if (!stream.destroyed) stream.close(constants.NGHTTP2_CANCEL)
    }
    const settle = (): void => {
      clearTimeout(timer)
      leave()
      response.off('close', clientGone)
    }
    response.once('close', clientGone)
    if (exchange.hasBody) {
      sendBody(stream, call)
      stream.once('finish', awaitAnswer)
    } else awaitAnswer()
    if (!answering.isCounted) stream.on('data', (chunk: Buffer) => (outcome.responseBytes += chunk.length))
    stream.on('headers', (fields) => {
      const headers = fromHttp2(fields)
      headers.remove('x-cf-proxy-signature')
      if (fields[':status'] !== 100) answering.inform(fields[':status'] ?? 0, headers)
    })
    stream.once('response', (fields, flags) => {
      clearTimeout(timer)
      const headers = fromHttp2(fields)
      toClientHeaders(exchange, headers)
      this.inner.answered(headers)
      outcome.status = fields[':status']
      const isWhole = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0
      answering.head(outcome.status ?? 502, headers, isWhole)
      if (isWhole) answering.body.end()
      else stream.pipe(answering.body)
    })
    stream.once('trailers', (fields: IncomingHttpHeaders) => answering.trailers(fromHttp2(fields)))
    let failure: NodeJS.ErrnoException | undefined
    stream.once('error', (error: NodeJS.ErrnoException) => (failure = error))
    stream.once('close', () => {
      settle()
      if (!answering.hasHead) {
        if (answering.isGone) return
        const refused = stream.rstCode === constants.NGHTTP2_REFUSED_STREAM
        if (refused) drop()
        return this.#failed(call, target, 'reused-connection', failure ?? ended(), refused && !exchange.hasBody)
      }
      if (failure === undefined && stream.rstCode === constants.NGHTTP2_NO_ERROR) return
      if (answering.body.writableEnded) return
      outcome.routerError ??= 'endpoint_failure (response cut off)'
      answering.destroy()
    })
  }

  /** `untouched`: the instance has seen nothing of the request, whatever it is. */
  #failed(call: HandedCall, target: Target, phase: Phase, error: Error, untouched = false): void {
    this.inner.failed(attemptError({ phase, replayable: untouched || isReplayable(call.exchange) }, target, sessionError(error)))
    this.#goOn(call)
  }

  /** The next try, wherever it leads. */
  #goOn(call: HandedCall): void {
    const { exchange, request, response, answering } = call
    if (answering.isGone) return
    const step = this.inner.next()
    switch (step.do) {
      case 'answer':
        return answerBy(answering, exchange, this.endpoints.errorPage(step.answer))
      case 'handle':
        return step.handler(exchange, request, response)
      case 'wait':
        setTimeout(() => this.#goOn(call), step.forMs)
        return
      case 'try':
        if (this.#isHttp2) return this.#tryHttp2(call, step.target)
        this.endpoints.http1.try(call, this.inner, step.target, step.fresh).then(
          (failure) => {
            if (!failure) return
            this.inner.failed(failure)
            this.#goOn(call)
          },
          // What cannot even be asked is the router's own fault.
          () =>
            answerBy(
              answering,
              exchange,
              this.endpoints.errorPage(presentAnswer('unknownFailure', { host: exchange.hostHeader })),
            ),
        )
    }
  }
}

/** A request that the data plane has given away. */
type HandedCall = HeldCall & { readonly request: IncomingMessage; readonly response: ServerResponse }

const asError = (error: unknown): NodeJS.ErrnoException => (types.isNativeError(error) ? error : new Error(String(error)))
const ended = (): NodeJS.ErrnoException => coded('ECONNRESET', 'the stream ended without an answer')

/** How a session ended, in the words of a connection's end. */
function sessionError(error: NodeJS.ErrnoException): NodeJS.ErrnoException {
  const isEnd = /^ERR_HTTP2_(INVALID_SESSION|GOAWAY_SESSION|STREAM_CANCEL|SESSION_ERROR)$/.test(error.code ?? '')
  return isEnd ? coded('ECONNRESET', error.message) : error
}

function sendBody(stream: ClientHttp2Stream, { exchange, request, response, answering }: HandedCall): void {
  if (exchange.expectsContinue && !answering.hasHead) response.writeContinue()
  stream.once('wantTrailers', () => {
    const trailers = RawHeaders.from(request.rawTrailers)
    if (!stream.destroyed) stream.sendTrailers(toHttp2(trailers))
  })
  if (!answering.isCounted) request.on('data', (chunk: Buffer) => (exchange.outcome.requestBytes += chunk.length))
  request.once('error', () => stream.close(constants.NGHTTP2_CANCEL))
  request.pipe(stream)
}
