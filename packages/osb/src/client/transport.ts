import { Agent, errors, request, type buildConnector, type Dispatcher } from 'undici'
import type { BrokerResponse, TransportFailure } from './outcome.js'

/** A request that brought no answer that could be read. */
export class BrokerTransportError extends Error {
  override readonly name = 'BrokerTransportError'
  constructor(
    readonly failure: TransportFailure,
    options?: ErrorOptions,
  ) {
    super(failure.message, options)
  }
}

/** Connections to brokers; each process has one for brokers that may be anywhere, and one whose connector judges addresses. */
export interface BrokerConnections {
  readonly dispatcher: Dispatcher
  close(): Promise<void>
}

/**
 * `connector` opens the sockets: it may refuse an address once the name is resolved, by an error whose `code` is `EREFUSEDADDRESS`.
 * No connection is used twice, so that none breaks under a request that must not be sent twice.
 */
export function openBrokerConnections(options: { connector?: buildConnector.connector } = {}): BrokerConnections {
  const dispatcher = new Agent({
    pipelining: 0,
    ...(options.connector ? { connect: options.connector } : {}),
  })
  return { dispatcher, close: () => dispatcher.destroy() }
}

interface Exchange {
  readonly url: string
  readonly method: 'GET' | 'PUT' | 'PATCH' | 'DELETE'
  readonly headers: Record<string, string>
  readonly body: string | undefined
  readonly timeoutMs: number
  readonly maxBytes: number
  readonly signal: AbortSignal | undefined
}
const MAX_REDIRECTS = 5
const FOLLOWED = new Set([301, 302, 307, 308])

/** One request and its answer, read up to a limit and within a time; redirects are followed only where they stay at the same origin. */
export async function exchange({ dispatcher }: BrokerConnections, wanted: Exchange): Promise<BrokerResponse> {
  const deadline = AbortSignal.timeout(wanted.timeoutMs)
  const signal = wanted.signal ? AbortSignal.any([deadline, wanted.signal]) : deadline
  let url = new URL(wanted.url)
  for (let redirects = 0; ; redirects++) {
    const response = await send(dispatcher, url, wanted, signal, deadline)
    const target = response.location
    // Only what is sure to be the same request once more: a 302 turns others into GET.
    const follows =
      FOLLOWED.has(response.status) && (wanted.method === 'GET' || response.status === 307 || response.status === 308)
    if (!follows || target === undefined) return response
    const next = URL.canParse(target, url) ? new URL(target, url) : undefined
    if (next?.origin !== url.origin)
      throw new BrokerTransportError({
        reason: 'redirect',
        message: `The service broker redirects to another address, which is not followed: ${next ? next.origin : target.slice(0, 200)}`,
        sent: false,
      })
    if (redirects === MAX_REDIRECTS)
      throw new BrokerTransportError({ reason: 'redirect', message: 'The service broker redirects in a circle', sent: false })
    url = next
  }
}

async function send(
  dispatcher: Dispatcher,
  url: URL,
  wanted: Exchange,
  signal: AbortSignal,
  deadline: AbortSignal,
): Promise<BrokerResponse & { location: string | undefined }> {
  try {
    const { statusCode, headers, body } = await request(url, {
      dispatcher,
      method: wanted.method,
      headers: { ...wanted.headers, ...(wanted.body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(wanted.body === undefined ? {} : { body: wanted.body }),
      headersTimeout: wanted.timeoutMs,
      bodyTimeout: wanted.timeoutMs,
      signal,
    })
    const chunks: Buffer[] = []
    let size = 0
    for await (const chunk of body) {
      const bytes = Buffer.from(chunk as Uint8Array)
      size += bytes.length
      if (size > wanted.maxBytes)
        throw new BrokerTransportError({
          reason: 'too-large',
          message: `The service broker's answer is larger than ${wanted.maxBytes} bytes`,
          sent: true,
        })
      chunks.push(bytes)
    }
    const retryAfter = Number(headers['retry-after'])
    const location = headers['location']
    return {
      status: statusCode,
      body: Buffer.concat(chunks).toString('utf8'),
      location: typeof location === 'string' ? location : undefined,
      ...(Number.isFinite(retryAfter) && retryAfter > 0 ? { retryAfterSeconds: retryAfter } : {}),
    }
  } catch (error) {
    if (error instanceof BrokerTransportError) throw error
    if (wanted.signal?.aborted) throw error
    throw new BrokerTransportError(describe(error, deadline.aborted), { cause: error })
  }
}

/** Before these a request has left nothing at the broker: there was no connection. */
const UNSENT = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_CONNECT_TIMEOUT'])

function describe(error: unknown, timedOut: boolean): TransportFailure {
  const code = codeOf(error)
  if (code === 'EREFUSEDADDRESS')
    return {
      reason: 'forbidden-address',
      message: `The service broker could not be reached: ${error instanceof Error ? error.message : 'its address is not allowed'}`,
      sent: false,
    }
  if (error instanceof errors.ConnectTimeoutError)
    return { reason: 'timeout', message: 'The request to the service broker timed out', sent: false }
  if (timedOut || error instanceof errors.HeadersTimeoutError || error instanceof errors.BodyTimeoutError)
    return { reason: 'timeout', message: 'The request to the service broker timed out', sent: true }
  const sent = !UNSENT.has(code ?? '') && !isTlsFailure(code)
  return {
    reason: 'unreachable',
    message: `The service broker could not be reached${code === undefined ? '' : ` (${code})`}`,
    sent,
  }
}

function codeOf(error: unknown): string | undefined {
  if (error instanceof AggregateError) return codeOf(error.errors[0])
  if (typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string') return error.code
  return undefined
}
const isTlsFailure = (code: string | undefined): boolean =>
  code !== undefined && /^(CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|ERR_TLS|ERR_SSL)/.test(code)
