import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream, type IncomingHttpHeaders } from 'node:http2'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { presentAnswer } from '../answers.js'
import { AttemptError, classifyFailure, DIAL_TIMEOUT } from '../failures.js'
import type { Exchange } from '../proxy/exchange.js'
import type { Forwarding, NextTry, Target } from '../proxy/forwarding.js'
import type { Handler } from '../proxy/handler.js'
import { LIMITS } from '../proxy/limits.js'
import { RawHeaders } from '../proxy/raw-headers.js'
import { toClientHeaders } from '../proxy/response-headers.js'
import { answerBy, answeringTo, fromHttp2, toHttp2, type Answering } from './answering.js'

/** Sessions to instances that speak HTTP/2, by prior knowledge: one for each instance, for as long as it lasts. */
export class Http2Endpoints {
  readonly #sessions = new Map<string, Promise<ClientHttp2Session>>()

  /** Resolves when there is a connection; rejects with the reason why there is none. */
  session(target: Target): Promise<ClientHttp2Session> {
    const known = this.#sessions.get(target.key)
    if (known) return known
    const opening = openSession(target)
    this.#sessions.set(target.key, opening)
    const forget = (): void => {
      if (this.#sessions.get(target.key) === opening) this.#sessions.delete(target.key)
    }
    opening.then(
      (session) => {
        session.once('close', forget)
        session.once('goaway', forget)
        session.setTimeout(LIMITS.endpointIdleMs, () => session.close())
      },
      () => forget(),
    )
    return opening
  }

  /** Closes what leads to an instance that is gone, once its requests are answered. */
  forget(key: string): void {
    void this.#sessions.get(key)?.then(
      (session) => session.close(),
      () => undefined,
    )
    this.#sessions.delete(key)
  }

  close(): void {
    for (const key of [...this.#sessions.keys()]) this.forget(key)
  }
}

function openSession({ host, port }: Target): Promise<ClientHttp2Session> {
  return new Promise((resolve, reject) => {
    const session = connect(`http://${host.includes(':') ? `[${host}]` : host}:${port}`, { settings: { enablePush: false } })
    const timer = setTimeout(
      () => session.destroy(Object.assign(new Error('no connection in time'), { code: DIAL_TIMEOUT })),
      LIMITS.dialMs,
    )
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

/** Takes tries at instances that speak HTTP/2 out of the data plane's hands; the policy stays the other forwarding's. */
export class Http2Forwarding implements Forwarding {
  constructor(
    private readonly inner: Forwarding,
    private readonly exchange: Exchange,
    private readonly endpoints: Http2Endpoints,
  ) {}

  next(): NextTry {
    const step = this.inner.next()
    if (step.do !== 'try' || this.exchange.outcome.endpoint?.protocol !== 'http2') return step
    return { do: 'handle', handler: this.#handlerFor(step.target) }
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

  #handlerFor(target: Target): Handler {
    return (exchange, request, response) => {
      const answering = answeringTo(response)
      this.endpoints.session(target).then(
        (session) => passOn(session, this.inner, { exchange, request, response, answering, target }),
        (error: unknown) => {
          const failed = error instanceof Error ? error : new Error(String(error))
          const code = 'code' in failed ? String(failed.code) : ''
          const failure = classifyFailure({ phase: 'connecting', code, replayable: false })
          this.inner.failed(
            new AttemptError(failure, `dial tcp ${target.host}:${target.port}: ${failed.message}`, { cause: failed }),
          )
          this.#again(exchange, request, response, answering)
        },
      )
    }
  }

  /** The next instance; one that speaks HTTP/1.1 cannot be reached from here, since the data plane has handed the request over. */
  #again(exchange: Exchange, request: IncomingMessage, response: ServerResponse, answering: Answering): void {
    const step = this.next()
    if (step.do === 'handle') return step.handler(exchange, request, response)
    const answer =
      step.do === 'answer'
        ? step.answer
        : presentAnswer('endpointFailure', { host: exchange.hostHeader, detail: 'no instance that speaks HTTP/2 is left' })
    answerBy(answering, exchange, answer)
  }
}

interface Passing {
  readonly exchange: Exchange
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly answering: Answering
  readonly target: Target
}

function passOn(session: ClientHttp2Session, forwarding: Forwarding, passing: Passing): void {
  const { exchange, response, answering, target } = passing
  const { outcome } = exchange
  const stream = session.request(
    {
      ...toHttp2(exchange.headers),
      ':method': exchange.method,
      ':path': exchange.target,
      ':authority': exchange.hostHeader,
      ':scheme': 'http',
    },
    exchange.hasBody ? { endStream: false, waitForTrailers: true } : { endStream: true },
  )
  const clientGone = (): void => {
    if (!stream.destroyed) stream.close(constants.NGHTTP2_CANCEL)
  }
  response.once('close', clientGone)
  if (exchange.hasBody) sendBody(stream, passing)
  stream.on('data', (chunk: Buffer) => (outcome.responseBytes += chunk.length))
  stream.once('response', (fields, flags) => {
    const headers = fromHttp2(fields)
    toClientHeaders(exchange, headers)
    forwarding.answered(headers)
    outcome.status = fields[':status']
    const isWhole = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0
    answering.head(outcome.status ?? 502, headers, isWhole)
    if (isWhole) answering.body.end()
    else stream.pipe(answering.body)
  })
  stream.once('trailers', (fields: IncomingHttpHeaders) => answering.trailers(fromHttp2(fields)))
  stream.once('error', (error: NodeJS.ErrnoException) => {
    if (answering.hasHead) {
      outcome.routerError ??= 'endpoint_failure (response cut off)'
      return answering.destroy()
    }
    const detail = `${target.host}:${target.port}: ${error.message}`
    answerBy(answering, exchange, presentAnswer('endpointFailure', { host: exchange.hostHeader, detail }))
  })
  stream.once('close', () => {
    response.off('close', clientGone)
    if (stream.rstCode !== constants.NGHTTP2_NO_ERROR && !answering.body.writableEnded) answering.destroy()
    else if (!answering.hasHead)
      answerBy(
        answering,
        exchange,
        presentAnswer('endpointFailure', { host: exchange.hostHeader, detail: 'the stream ended without an answer' }),
      )
  })
}

function sendBody(stream: ClientHttp2Stream, { exchange, request, response, answering }: Passing): void {
  if (exchange.expectsContinue && !answering.hasHead) response.writeContinue()
  stream.once('wantTrailers', () => {
    const trailers = RawHeaders.from(request.rawTrailers)
    if (!stream.destroyed) stream.sendTrailers(toHttp2(trailers))
  })
  request.on('data', (chunk: Buffer) => (exchange.outcome.requestBytes += chunk.length))
  request.once('error', () => stream.close(constants.NGHTTP2_CANCEL))
  request.pipe(stream)
}
