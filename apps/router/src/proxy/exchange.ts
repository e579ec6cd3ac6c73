import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { RouteEndpoint, RouteEntry } from '@bloomery/contracts'
import { RawHeaders } from './raw-headers.js'

/** One request on its way through the router, and what became of it. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** Present when the client wants to switch to WebSocket: its bare connection and what it has sent beyond the head. */
  readonly upgrade: { readonly socket: Socket; readonly head: Buffer } | undefined
  /** Whether it came by TLS. */
  readonly secure: boolean
  readonly clientAddress: string
  readonly clientPort: number
  /** Milliseconds since the epoch, with fractions. */
  readonly receivedAt: number
  readonly requestId: string
  /** Host as the client wrote it, port included. */
  hostHeader: string
  /** Host in lower case, without a port. */
  host: string
  /** Request target towards the endpoint. */
  target: string
  /** Fields towards the endpoint. */
  readonly headers: RawHeaders
  /** Set by the lookup. */
  route: RouteEntry | undefined
  /** Endpoints to choose from: the route's, or the pinned ones. */
  candidates: readonly RouteEndpoint[]
  /** The client waits for a `100 Continue` before it sends the body. */
  expectsContinue: boolean
  readonly outcome: Outcome
}

/** What the access log tells. */
export interface Outcome {
  status: number | undefined
  routerError: string | undefined
  endpoint: RouteEndpoint | undefined
  /** host:port that was dialled last. */
  backend: string | undefined
  requestBytes: number
  responseBytes: number
  attempts: number
  /** Milliseconds spent with the endpoint. */
  backendMs: number
}

/** A step of the way. Steps that answer do not call `next`. */
export type Middleware = (exchange: Exchange, next: () => Promise<void>) => Promise<void>

/** Runs the steps in order, each around those after it. */
export function compose(steps: readonly Middleware[]): (exchange: Exchange) => Promise<void> {
  const run = (exchange: Exchange, at: number): Promise<void> => {
    const step = steps[at]
    return step ? step(exchange, () => run(exchange, at + 1)) : Promise.resolve()
  }
  return (exchange) => run(exchange, 0)
}

/** What a request is at its beginning. */
export function createExchange(
  request: IncomingMessage,
  response: ServerResponse,
  facts: Pick<Exchange, 'upgrade' | 'secure' | 'requestId' | 'receivedAt'> & { readonly expectsContinue?: boolean },
): Exchange {
  const headers = RawHeaders.from(request.rawHeaders)
  const hostHeader = headers.get('host') ?? ''
  return {
    request,
    response,
    upgrade: facts.upgrade,
    secure: facts.secure,
    clientAddress: (request.socket.remoteAddress ?? '').replace(/^::ffff:/, ''),
    clientPort: request.socket.remotePort ?? 0,
    receivedAt: facts.receivedAt,
    requestId: facts.requestId,
    hostHeader,
    host: hostWithoutPort(hostHeader),
    target: request.url ?? '/',
    headers,
    route: undefined,
    candidates: [],
    expectsContinue: facts.expectsContinue ?? false,
    outcome: {
      status: undefined,
      routerError: undefined,
      endpoint: undefined,
      backend: undefined,
      requestBytes: 0,
      responseBytes: 0,
      attempts: 0,
      backendMs: 0,
    },
  }
}

/** `Name:8080` → `name`, `[::1]:8080` → `[::1]`; a final dot is dropped as in DNS. */
export const hostWithoutPort = (host: string): string => host.replace(/:\d*$/, '').replace(/\.$/, '').toLowerCase()

/** Whether the request carries a body, by its framing. */
export const hasBody = (headers: RawHeaders): boolean =>
  headers.has('transfer-encoding') || ![undefined, '0'].includes(headers.get('content-length'))
