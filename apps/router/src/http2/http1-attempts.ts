import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import {
  attemptError,
  coded,
  DIAL_TIMEOUT,
  isReplayable,
  RESPONSE_TIMEOUT,
  reuseFor,
  type AttemptError,
  type Phase,
} from '../failures.js'
import { Connections } from '../plain/connections.js'
import type { Exchange } from '../proxy/exchange.js'
import type { Forwarding, Target } from '../proxy/forwarding.js'
import { removeHopByHop } from '../proxy/hop-by-hop-headers.js'
import type { Limits } from '../proxy/limits.js'
import { RawHeaders } from '../proxy/raw-headers.js'
import { toClientHeaders } from '../proxy/response-headers.js'
import { connectEventOf, isConnecting, type InstanceTls } from '../tls/instance-tls.js'
import type { Answering } from './answering.js'

/** A request in Node's hands, of a client that speaks either protocol. */
export interface HeldCall {
  readonly exchange: Exchange
  readonly request: Readable & { readonly rawTrailers: readonly string[] }
  readonly response: {
    writeContinue(): void
    /** Once the answer is whole, or the client gone. */
    once(event: 'close', listener: () => void): unknown
    off(event: 'close', listener: () => void): unknown
  }
  readonly answering: Answering
}

/** Tries at instances that speak HTTP/1.1, for requests that are in Node's hands already. */
export class Http1Attempts {
  readonly #connections: Connections

  constructor(
    private readonly limits: Limits,
    instanceTls: InstanceTls | undefined,
  ) {
    this.#connections = new Connections(instanceTls)
  }

  /** Closes what is idle towards an instance that is gone. */
  forget(poolKey: string): void {
    this.#connections.forget(poolKey)
  }

  close(): void {
    this.#connections.close()
  }

  /** One try. Resolves when the exchange is over; or with why the try has failed, while nothing was answered yet. */
  try(call: HeldCall, forwarding: Forwarding, target: Target, fresh: boolean): Promise<AttemptError | undefined> {
    const { exchange, response, answering } = call
    const { outcome } = exchange
    const replayable = isReplayable(exchange)
    if (answering.isGone) {
      outcome.status = 499
      return Promise.resolve(undefined)
    }
    return new Promise((resolve) => {
      const outgoing = httpRequest({
        agent: this.#connections.agentFor(fresh ? 'new' : reuseFor(exchange)),
        ...{ poolKey: target.key, ...(target.tls ? { securedTarget: target } : {}) },
        host: target.host,
        port: target.port,
        method: exchange.method,
        path: exchange.target,
        headers: exchange.headers.toFlat() as unknown as Record<string, string>,
        setHost: false,
      })
      let phase: Phase = 'connecting'
      let timer: NodeJS.Timeout | undefined
      outgoing.once('finish', () => {
        if (outgoing.destroyed || answering.hasHead) return
        timer = setTimeout(() => outgoing.destroy(coded(RESPONSE_TIMEOUT, 'no response in time')), this.limits.responseMs)
      })
      const over = (): void => {
        outgoing.destroy()
        if (!answering.hasHead) outcome.status = 499
        resolve(undefined)
      }
      response.once('close', over)
      outgoing.once('close', () => clearTimeout(timer))
      outgoing.once('socket', (socket) => {
        const connected = (): void => {
          phase = outgoing.reusedSocket ? 'reused-connection' : 'fresh-connection'
          sendBody(call, outgoing)
        }
        if (!isConnecting(socket)) return connected()
        const dialTimer = setTimeout(() => outgoing.destroy(coded(DIAL_TIMEOUT, 'no connection in time')), this.limits.dialMs)
        socket.once(connectEventOf(socket), connected)
        socket.once('close', () => clearTimeout(dialTimer))
        socket.once(connectEventOf(socket), () => clearTimeout(dialTimer))
      })
      outgoing.on('error', (error: NodeJS.ErrnoException) => {
        if (answering.hasHead || answering.isGone) return
        response.off('close', over)
        resolve(attemptError({ phase, replayable }, target, error))
      })
      outgoing.once('response', (incoming) => {
        clearTimeout(timer)
        const headers = RawHeaders.from(incoming.rawHeaders)
        toClientHeaders(exchange, headers)
        forwarding.answered(headers)
        relay(call, incoming, headers)
      })
      outgoing.on('information', ({ statusCode, rawHeaders }) => {
        if (statusCode > 100) answering.inform(statusCode, withoutConnection(rawHeaders))
      })
    })
  }
}

function withoutConnection(rawHeaders: string[]): RawHeaders {
  const headers = RawHeaders.from(rawHeaders)
  removeHopByHop(headers, { keepTrailer: false })
  headers.remove('content-length', 'x-cf-proxy-signature')
  return headers
}

function relay({ exchange, answering }: HeldCall, incoming: IncomingMessage, headers: RawHeaders): void {
  const { outcome } = exchange
  outcome.status = incoming.statusCode ?? 502
  headers.remove('trailer')
  answering.head(outcome.status, headers, false)
  if (!answering.isCounted) incoming.on('data', (chunk: Buffer) => (outcome.responseBytes += chunk.length))
  incoming.once('end', () => answering.trailers(RawHeaders.from(incoming.rawTrailers)))
  incoming.once('error', () => undefined)
  incoming.once('close', () => {
    if (incoming.complete) return
    outcome.routerError ??= 'endpoint_failure (response cut off)'
    answering.destroy()
  })
  incoming.pipe(answering.body)
}

function sendBody({ exchange, request, response, answering }: HeldCall, outgoing: ClientRequest): void {
  if (!exchange.hasBody) {
    outgoing.end()
    return
  }
  if (exchange.expectsContinue) response.writeContinue()
  if (!answering.isCounted) request.on('data', (chunk: Buffer) => (exchange.outcome.requestBytes += chunk.length))
  request.once('end', () => {
    const trailers = request.rawTrailers
    if (trailers.length > 0)
      outgoing.addTrailers(
        trailers.flatMap((name, i): [string, string][] => (i % 2 === 0 ? [[name, trailers[i + 1] ?? '']] : [])),
      )
  })
  request.pipe(outgoing)
}
