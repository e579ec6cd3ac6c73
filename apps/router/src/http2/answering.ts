import type { ServerResponse } from 'node:http'
import { Http2ServerResponse, type OutgoingHttpHeaders } from 'node:http2'
import type { Writable } from 'node:stream'
import type { RouterAnswer } from '../proxy/router-answer.js'
import type { Exchange } from '../proxy/exchange.js'
import { RawHeaders } from '../proxy/raw-headers.js'

/** Where an answer goes, whichever protocol the client speaks. */
export interface Answering {
  readonly body: Writable
  readonly hasHead: boolean
  /** Nobody waits for it any more. */
  readonly isGone: boolean
  /** The data plane counts the bytes of both bodies as they pass it; else whoever passes them on does. */
  readonly isCounted: boolean
  /** `isWhole`: no body and no trailers follow. */
  head(status: number, headers: RawHeaders, isWhole: boolean): void
  /** Word that the answer is still to come (1xx); what the client's protocol cannot say is left out. */
  inform(status: number, headers: RawHeaders): void
  /** Sent when the body has ended. */
  trailers(trailers: RawHeaders): void
  /** The answer is broken, and the client shall see it. */
  destroy(): void
}

export const answeringTo = (response: ServerResponse | Http2ServerResponse): Answering =>
  response instanceof Http2ServerResponse ? answeringOverHttp2(response) : answeringOverHttp1(response)

function answeringOverHttp1(response: ServerResponse): Answering {
  return {
    body: response,
    isCounted: true,
    get hasHead() {
      return response.headersSent
    },
    get isGone() {
      return response.destroyed
    },
    head: (status, headers, isWhole) => {
      response.writeHead(status, headers.toFlat())
      if (!isWhole) response.flushHeaders()
    },
    inform: () => undefined,
    trailers: (trailers) => {
      if (response.chunkedEncoding) response.addTrailers(pairsOf(trailers))
    },
    destroy: () => void response.destroy(),
  }
}

function answeringOverHttp2(response: Http2ServerResponse): Answering {
  const { stream } = response
  return {
    body: stream,
    isCounted: false,
    get hasHead() {
      return stream.headersSent
    },
    get isGone() {
      return stream.destroyed || stream.closed
    },
    head: (status, headers, isWhole) => {
      if (stream.destroyed || stream.closed) return
      stream.respond({ ...toHttp2(headers), ':status': status }, isWhole ? { endStream: true } : { waitForTrailers: true })
    },
    inform: (status, headers) => {
      if (!stream.destroyed && !stream.closed && !stream.headersSent)
        stream.additionalHeaders({ ...toHttp2(headers), ':status': status })
    },
    trailers: (trailers) => {
      // Node's response sends them when the stream asks for its trailers.
      response.addTrailers(toHttp2(trailers))
    },
    destroy: () => {
      if (!stream.destroyed) stream.close(INTERNAL_ERROR)
    },
  }
}

/** Sends an answer of the router's own. */
export function answerBy(answering: Answering, exchange: Exchange, answer: RouterAnswer): void {
  exchange.outcome.routerError = answer.routerError
  if (answering.hasHead) return answering.destroy()
  exchange.outcome.status = answer.status
  const headers = RawHeaders.from(answer.headers)
  const text = exchange.method === 'HEAD' ? '' : answer.body
  if (!answering.isCounted) exchange.outcome.responseBytes = Buffer.byteLength(text)
  answering.head(answer.status, headers, text === '')
  answering.body.end(text)
}

const INTERNAL_ERROR = 2
/** What HTTP/2 says in its own way, and refuses as fields. */
const CONNECTION_FIELDS = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
  'host',
])

/** Fields as Node takes them for HTTP/2, without those that concern a connection. */
export function toHttp2(headers: RawHeaders): OutgoingHttpHeaders {
  // Without a prototype: `constructor` is a field's name like any other.
  const fields: Record<string, string | string[]> = Object.create(null) as Record<string, string | string[]>
  const flat = headers.toFlat()
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const name = (flat[i] ?? '').toLowerCase()
    const value = flat[i + 1] ?? ''
    if (CONNECTION_FIELDS.has(name) || (name === 'te' && value.toLowerCase() !== 'trailers')) continue
    const present = fields[name]
    if (present === undefined) fields[name] = value
    else if (LISTS.has(name)) fields[name] = `${String(present)}, ${value}`
    else if (ONCE.has(name)) fields[name] = value
    else fields[name] = Array.isArray(present) ? [...present, value] : [present, value]
  }
  return fields
}
/** Node refuses to write these more than once; as lists they say the same in one. */
const LISTS = new Set(['content-encoding', 'content-language', 'if-match', 'if-none-match'])
/** Nor these, of which there is one at most in what is regular: the last one counts. */
const ONCE = new Set([
  'access-control-allow-credentials',
  'access-control-max-age',
  'access-control-request-method',
  'age',
  'authorization',
  'content-length',
  'content-location',
  'content-md5',
  'content-range',
  'content-type',
  'date',
  'dnt',
  'etag',
  'expires',
  'from',
  'if-modified-since',
  'if-range',
  'if-unmodified-since',
  'last-modified',
  'location',
  'max-forwards',
  'proxy-authorization',
  'range',
  'referer',
  'retry-after',
  'te',
  'tk',
  'upgrade-insecure-requests',
  'user-agent',
  'x-content-type-options',
])

/** Node's fields of HTTP/2 without the pseudo ones. */
export function fromHttp2(fields: Readonly<Record<string, string | number | readonly string[] | undefined>>): RawHeaders {
  const headers = RawHeaders.from([])
  for (const [name, value] of Object.entries(fields)) {
    if (name.startsWith(':') || value === undefined) continue
    if (typeof value === 'object') for (const each of value) headers.append(name, each)
    else headers.append(name, String(value))
  }
  return headers
}

const pairsOf = (headers: RawHeaders): [string, string][] => {
  const flat = headers.toFlat()
  return flat.flatMap((name, i): [string, string][] => (i % 2 === 0 ? [[name, flat[i + 1] ?? '']] : []))
}
