import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import {
  constants,
  createServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type Http2Session,
  type ServerHttp2Session,
} from 'node:http2'
import { setTimeout as delay } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import { presentAnswer } from '../answers.js'
import { type ErrorPage, plainPage } from '../error-pages/error-page.js'
import type { ClientCounts } from '../proxy/client-counts.js'
import type { DataPlaneDeps, Http2Carrier } from '../proxy/data-plane.js'
import { Exchange, type ClientConnection } from '../proxy/exchange.js'
import type { Forwarding } from '../proxy/forwarding.js'
import { LIMITS, type Limits } from '../proxy/limits.js'
import { RawHeaders } from '../proxy/raw-headers.js'
import type { RouterAnswer } from '../proxy/router-answer.js'
import { answerBy, answeringTo, type Answering } from './answering.js'
import { Http1Attempts } from './http1-attempts.js'

/** Requests of one connection at a time. */
const MAX_STREAMS = 250
const IDLE_LOOK_MS = 50

/** Between the word that connections are going away and the refusal of new requests: what clients had sent by then is served. */
const NOTICE_MS = 100
/** `as many streams as there could be`: the first word of a connection's end refuses none. */
const LAST_STREAM = 2 ** 31 - 1

interface Session {
  readonly client: ClientConnection
  readonly counts: ClientCounts
}

interface StreamCall {
  readonly exchange: Exchange
  readonly request: Http2ServerRequest
  readonly response: Http2ServerResponse
  readonly answering: Answering
}

/** Serves clients that speak HTTP/2, by the same steps as all others; instances behind them are spoken to by HTTP/1.1 or HTTP/2. */
export class Http2Clients implements Http2Carrier {
  readonly #deps: Http2ClientsDeps
  readonly #limits: Limits
  readonly #server: Http2Server
  readonly #sessions = new Map<Http2Session, Session>()
  /** Of connections that are just being taken over. */
  readonly #arriving = new Map<string, Session>()
  readonly #attempts: Http1Attempts
  readonly #errorPage: ErrorPage
  #draining = false

  constructor(deps: Http2ClientsDeps) {
    this.#deps = deps
    this.#limits = deps.limits ?? LIMITS
    this.#errorPage = deps.errorPage ?? plainPage
    this.#attempts = new Http1Attempts(this.#limits, deps.instanceTls)
    this.#server = createServer({
      maxHeaderListPairs: this.#limits.maxFields,
      settings: {
        maxConcurrentStreams: MAX_STREAMS,
        initialWindowSize: this.#limits.streamWindowBytes,
        enablePush: false,
        enableConnectProtocol: false,
      },
    })
    this.#server.on('sessionError', (_error, session) => session.destroy())
    this.#server.on('session', (session) => this.#open(session))
    const serve = (request: Http2ServerRequest, response: Http2ServerResponse): void => this.#start(request, response)
    this.#server.on('request', serve)
    this.#server.on('checkContinue', serve)
  }

  get openConnections(): number {
    return this.#sessions.size
  }

  accept(socket: TLSSocket, client: { readonly address: string; readonly port: number }, counts: ClientCounts): void {
    const certificate = socket.authorized ? socket.getPeerX509Certificate() : undefined
    const { address, port } = client
    this.#arriving.set(connectionKey(socket), {
      client: { secure: true, address, port, ...(certificate ? { certificate: certificate.raw } : {}) },
      counts,
    })
    // What a server emits for connections of its own; the handshake is done, so this one speaks without TLS.
    this.#server.emit('connection', socket)
  }

  forget(poolKey: string): void {
    this.#attempts.forget(poolKey)
  }

  announceDrain(): void {
    this.#draining = true
    for (const session of this.#sessions.keys()) if (!session.destroyed) sendAway(session)
  }

  async close(timeoutMs: number): Promise<void> {
    const deadline = Date.now() + timeoutMs
    this.announceDrain()
    if (this.#sessions.size > 0) await delay(Math.min(NOTICE_MS, timeoutMs))
    for (const session of this.#sessions.keys()) session.close()
    while (this.#sessions.size > 0 && Date.now() < deadline) await delay(IDLE_LOOK_MS)
    for (const session of [...this.#sessions.keys()]) session.destroy()
    this.#attempts.close()
  }

  #open(session: ServerHttp2Session): void {
    const key = connectionKey(session.socket)
    const arriving = this.#arriving.get(key)
    this.#arriving.delete(key)
    if (!arriving) return session.destroy()
    this.#sessions.set(session, arriving)
    // Like the head of a first request, which must not trickle either.
    const first = setTimeout(() => session.destroy(), this.#limits.headMs)
    session.once('stream', () => clearTimeout(first))
    session.once('close', () => {
      clearTimeout(first)
      this.#sessions.delete(session)
    })
    session.on('error', () => session.destroy())
    session.setTimeout(this.#limits.idleMs, () => session.close())
    if (this.#draining) sendAway(session)
  }

  #start(request: Http2ServerRequest, response: Http2ServerResponse): void {
    const { session } = request.stream
    const known = session && this.#sessions.get(session)
    if (!known?.counts.enter(known.client.address)) return void request.stream.close(constants.NGHTTP2_REFUSED_STREAM)
    const { client, counts } = known
    request.stream.once('close', () => counts.leave(client.address))
    const exchange = exchangeOf(request, client)
    if (exchange.hasBody) watchBody(request, exchange, this.#limits.bodyIdleMs)
    const call: StreamCall = { exchange, request, response, answering: answeringTo(response) }
    response.on('error', () => undefined)
    request.on('error', () => undefined)
    this.#serve(call)
      .catch((error: unknown) => {
        this.#deps.log.error({ err: error, requestId: exchange.requestId }, 'unexpected failure while serving a request')
        this.#answer(call, presentAnswer('unknownFailure', { host: exchange.hostHeader }))
      })
      .finally(() => this.#deps.record(exchange, performance.timeOrigin + performance.now()))
      .catch((error: unknown) => this.#deps.log.error({ err: error }, 'a request could not be recorded'))
  }

  #answer({ answering, exchange }: StreamCall, answer: RouterAnswer): void {
    answerBy(answering, exchange, this.#errorPage(answer))
  }

  async #serve(call: StreamCall): Promise<void> {
    const disposition = this.#deps.decide(call.exchange)
    switch (disposition.do) {
      case 'answer':
        return this.#answer(call, disposition.answer)
      case 'forward':
        return this.#forward(call, disposition.forwarding)
      case 'handle':
        return handle(call, disposition.handler)
    }
  }

  async #forward(call: StreamCall, forwarding: Forwarding): Promise<void> {
    const { exchange, request } = call
    try {
      while (!request.stream.destroyed) {
        const step = forwarding.next()
        if (step.do === 'answer') return this.#answer(call, step.answer)
        if (step.do === 'handle') return await handle(call, step.handler)
        if (step.do === 'wait') {
          await delay(step.forMs)
          continue
        }
        const failure = await this.#attempts.try(call, forwarding, step.target, step.fresh)
        if (!failure) return
        forwarding.failed(failure)
      }
      exchange.outcome.status = 499
    } finally {
      forwarding.end()
    }
  }
}

type Http2ClientsDeps = Pick<DataPlaneDeps, 'decide' | 'record' | 'limits' | 'instanceTls' | 'errorPage' | 'log'>

/** Tells the client to come anew; its requests under way, and those that cross this word, are served. */
const sendAway = (session: Http2Session): void => session.goaway(constants.NGHTTP2_NO_ERROR, LAST_STREAM)

/** Gives up a body of which nothing comes although it is being waited for. */
function watchBody(request: Http2ServerRequest, { outcome }: Exchange, idleMs: number): void {
  let [bytes, lastAt] = [0, Date.now()]
  const timer = setInterval(() => {
    const isWaiting = request.readableFlowing === true && !request.isPaused() && !request.stream.isPaused()
    if (!isWaiting || outcome.requestBytes > bytes) [bytes, lastAt] = [outcome.requestBytes, Date.now()]
    else if (Date.now() - lastAt > idleMs) request.stream.close(constants.NGHTTP2_CANCEL)
  }, idleMs / 4)
  timer.unref()
  request.once('end', () => clearInterval(timer))
  request.stream.once('close', () => clearInterval(timer))
}

/** Handlers know Node's HTTP/1.1 objects; those of its HTTP/2 compatibility layer are made to be used in their place. */
function handle(
  call: StreamCall,
  handler: (exchange: Exchange, request: IncomingMessage, response: ServerResponse) => void,
): Promise<void> {
  const { exchange, request, response } = call
  handler(exchange, request as unknown as IncomingMessage, response as unknown as ServerResponse)
  return new Promise((resolve) => (request.stream.closed ? resolve() : request.stream.once('close', () => resolve())))
}

function exchangeOf(request: Http2ServerRequest, client: ClientConnection): Exchange {
  const headers = RawHeaders.from([])
  const cookies: string[] = []
  const authority = request.headers[':authority']
  if (authority !== undefined) headers.append('Host', authority)
  const { rawHeaders } = request
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? ''
    const value = rawHeaders[i + 1] ?? ''
    // Two names for one host would be refused; one that says the same again says nothing.
    if (name.startsWith(':') || (name === 'host' && value === authority)) continue
    if (name === 'cookie') cookies.push(value)
    else headers.append(name, value)
  }
  // HTTP/2 may send each on its own; HTTP/1.1 has one field for all.
  if (cookies.length > 0) headers.append('Cookie', cookies.join('; '))
  const hasLength = headers.has('content-length')
  return new Exchange(
    {
      method: request.method,
      target: request.url,
      httpVersion: '2.0',
      headers,
      framing: request.stream.endAfterHeaders ? 'none' : hasLength ? 'sized' : 'stream',
    },
    client,
    randomUUID(),
    performance.timeOrigin + performance.now(),
  )
}

const connectionKey = ({
  remoteAddress = '',
  remotePort = 0,
}: {
  readonly remoteAddress?: string | undefined
  readonly remotePort?: number | undefined
}): string => `${remoteAddress} ${remotePort}`
