import type { RouteEndpoint, RouteEntry } from '@bloomery/contracts'
import type { RawHeaders } from './raw-headers.js'

/** The client's connection, as far as requests on it need to know; one for all of them. */
export interface ClientConnection {
  /** Whether it is TLS. */
  readonly secure: boolean
  /** IPv4 addresses in their own form; empty when it is not known. */
  readonly address: string
  readonly port: number
  /** The client's certificate where it has shown one, DER. */
  readonly certificate?: Buffer
}

/** How a body is delimited. `stream`: by the protocol itself, its length being unknown (HTTP/2). */
export type Framing = 'none' | 'sized' | 'chunked' | 'stream'

/** A request's head as it was read. */
export interface RequestHead {
  readonly method: string
  readonly target: string
  /** `1.0`, `1.1`, `2.0`. */
  readonly httpVersion: string
  readonly headers: RawHeaders
  /** Absent: as the fields say, which the first steps check. */
  readonly framing?: Framing
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

/**
 * One request on its way through the router, and what became of it. It knows nothing of sockets, so the steps are the same
 * whichever data plane carries it.
 */
export class Exchange {
  readonly method: string
  readonly httpVersion: string
  /** Fields towards the endpoint. */
  readonly headers: RawHeaders
  /** Request target towards the endpoint. */
  target: string
  framing: Framing
  /** Whether the framing is the carrier's own word (HTTP/2); else the fields say it. */
  readonly framingIsStated: boolean
  /** Host as the client wrote it, port included. */
  hostHeader: string
  /** Host in lower case, without a port. */
  host: string
  /** Protocol that the client asks to switch to and may. */
  upgrade: string | undefined
  /** The client waits for a `100 Continue` before it sends the body. */
  expectsContinue: boolean
  /** Set by the lookup. */
  route: RouteEntry | undefined = undefined
  /** On its way to a route service, which sends it back. */
  viaRouteService = false
  /** The router's name, where the client may know by which way it was served. */
  toldBy: string | undefined = undefined
  /** Endpoints to choose from: the route's, or the pinned ones. */
  candidates: readonly RouteEndpoint[] = []
  readonly outcome: Outcome = {
    status: undefined,
    routerError: undefined,
    endpoint: undefined,
    backend: undefined,
    requestBytes: 0,
    responseBytes: 0,
    attempts: 0,
    backendMs: 0,
  }

  constructor(
    head: RequestHead,
    readonly client: ClientConnection,
    public requestId: string,
    /** Milliseconds since the epoch, with fractions. */
    readonly receivedAt: number,
  ) {
    const { headers } = head
    this.method = head.method
    this.httpVersion = head.httpVersion
    this.headers = headers
    this.target = head.target
    this.framing = head.framing ?? 'none'
    this.framingIsStated = head.framing !== undefined
    this.hostHeader = headers.get('host') ?? ''
    this.host = hostWithoutPort(this.hostHeader)
    this.upgrade = undefined
    this.expectsContinue = false
  }

  get hasBody(): boolean {
    return this.framing !== 'none'
  }
}

/** `Name:8080` → `name`, `[::1]:8080` → `[::1]`; a final dot is dropped as in DNS. */
export function hostWithoutPort(host: string): string {
  let end = host.length
  const colon = host.lastIndexOf(':')
  if (colon !== -1 && isDigits(host, colon + 1)) end = colon
  if (end > 0 && host.charCodeAt(end - 1) === DOT) end--
  return (end === host.length ? host : host.slice(0, end)).toLowerCase()
}

const DOT = 46

function isDigits(text: string, from: number): boolean {
  for (let i = from; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 48 || code > 57) return false
  }
  return true
}
