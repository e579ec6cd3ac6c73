import type { Exchange } from './proxy/exchange.js'

/** How far an attempt had come when it failed. */
export type Phase = 'connecting' | 'reused-connection' | 'fresh-connection'

/** What speaks against an instance that is dialled by TLS: its name, its authority, the handshake itself; or what it has against us. */
type TlsFailure = 'tls-identity' | 'tls-untrusted' | 'tls-handshake' | 'tls-client-certificate'

/** What a failed attempt means for the request and for the endpoint. */
export interface FailureClass {
  readonly kind: 'dial' | 'dial-timeout' | 'stale-connection' | 'reset' | 'no-response' | 'bad-response' | TlsFailure
  /** No byte of the request can have been processed. */
  readonly retriable: boolean
  /** The endpoint is passed over for a while. */
  readonly marksEndpoint: boolean
}

/** An attempt's failure; `detail` is for operators and goes into X-Cf-RouterError. */
export class AttemptError extends Error {
  override readonly name = 'AttemptError'
  constructor(
    readonly failure: FailureClass,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

export const DIAL_TIMEOUT = 'BLOOMERY_DIAL_TIMEOUT'
export const RESPONSE_TIMEOUT = 'BLOOMERY_RESPONSE_TIMEOUT'
/** As Node names it: the certificate is good, but for somebody else. */
export const WRONG_IDENTITY = 'ERR_TLS_CERT_ALTNAME_INVALID'

const ended = (code: string): boolean => code === 'ECONNRESET' || code === 'EPIPE'

const UNTRUSTED = new Set([
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'CERT_REVOKED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'INVALID_CA',
  'INVALID_PURPOSE',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
])
/** Alerts about the router's own certificate; with TLS 1.3 they come once the handshake is over for us. Nothing was processed then. */
const CERTIFICATE_ALERT =
  /^ERR_SSL_\w*ALERT_(CERTIFICATE_REQUIRED|BAD_CERTIFICATE|CERTIFICATE_UNKNOWN|CERTIFICATE_EXPIRED|UNKNOWN_CA|ACCESS_DENIED)$/
const tls = (kind: TlsFailure): FailureClass => ({ kind, retriable: true, marksEndpoint: true })

/** In order; the first that fits counts. `replayable`: no body, and a method or key that says repeating does no harm. */
const CLASSES: readonly { readonly fits: (facts: FailureFacts) => boolean; readonly is: FailureClass }[] = [
  { fits: ({ code }) => code === WRONG_IDENTITY, is: tls('tls-identity') },
  { fits: ({ phase, code }) => phase === 'connecting' && UNTRUSTED.has(code), is: tls('tls-untrusted') },
  { fits: ({ phase, code }) => phase !== 'reused-connection' && CERTIFICATE_ALERT.test(code), is: tls('tls-client-certificate') },
  { fits: ({ phase, code }) => phase === 'connecting' && /^(EPROTO$|ERR_SSL_)/.test(code), is: tls('tls-handshake') },
  {
    fits: ({ phase, code }) => phase === 'connecting' && code === DIAL_TIMEOUT,
    is: { kind: 'dial-timeout', retriable: true, marksEndpoint: true },
  },
  {
    // This process has no descriptor or port left, which is not the endpoint's fault.
    fits: ({ phase, code }) => phase === 'connecting' && /^(EMFILE|ENFILE|EADDRNOTAVAIL)$/.test(code),
    is: { kind: 'dial', retriable: true, marksEndpoint: false },
  },
  { fits: ({ phase }) => phase === 'connecting', is: { kind: 'dial', retriable: true, marksEndpoint: true } },
  {
    // The endpoint closed a connection it held idle, just as the next request went out on it. That says nothing against it.
    fits: ({ phase, code, replayable }) => phase === 'reused-connection' && ended(code) && replayable,
    is: { kind: 'stale-connection', retriable: true, marksEndpoint: false },
  },
  {
    // The same, but nobody can say whether the endpoint has carried it out.
    fits: ({ phase, code }) => phase === 'reused-connection' && ended(code),
    is: { kind: 'reset', retriable: false, marksEndpoint: false },
  },
  { fits: ({ code }) => ended(code), is: { kind: 'reset', retriable: false, marksEndpoint: true } },
  { fits: ({ code }) => code === RESPONSE_TIMEOUT, is: { kind: 'no-response', retriable: false, marksEndpoint: false } },
  { fits: () => true, is: { kind: 'bad-response', retriable: false, marksEndpoint: false } },
]

export interface FailureFacts {
  readonly phase: Phase
  readonly code: string
  readonly replayable: boolean
}

export function classifyFailure(facts: FailureFacts): FailureClass {
  const found = CLASSES.find(({ fits }) => fits(facts))
  if (!found) throw new Error('the last class fits everything')
  return found.is
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connect: connection refused',
  EHOSTUNREACH: 'connect: no route to host',
  ENETUNREACH: 'connect: network is unreachable',
  ETIMEDOUT: 'i/o timeout',
  [DIAL_TIMEOUT]: 'i/o timeout',
  [RESPONSE_TIMEOUT]: 'timeout awaiting response headers',
  ECONNRESET: 'read: connection reset by peer',
  EPIPE: 'write: broken pipe',
}

/** The failure of one attempt, in the words that operators know. */
export function attemptError(
  facts: { readonly phase: Phase; readonly replayable: boolean },
  target: { readonly host: string; readonly port: number },
  error: NodeJS.ErrnoException,
): AttemptError {
  const failure = classifyFailure({ ...facts, code: error.code ?? '' })
  const address = `${target.host.includes(':') ? `[${target.host}]` : target.host}:${target.port}`
  const where = facts.phase === 'connecting' ? `dial tcp ${address}` : address
  return new AttemptError(failure, `${where}: ${REASONS[error.code ?? ''] ?? error.message}`, { cause: error })
}

/** An error with a code, as sockets have them. */
export const coded = (code: string, message: string): NodeJS.ErrnoException => Object.assign(new Error(message), { code })

/**
 * Which connections a request may go out on. `any`: one that has served before will do, since it may be sent again if the endpoint
 * closes that at the same moment. `recent`: only one that was used a moment ago, which no endpoint gives up yet. `new`: its own.
 */
export type Reuse = 'any' | 'recent' | 'new'

export const reuseFor = (exchange: Replay): Reuse =>
  isReplayable(exchange) ? 'any' : exchange.upgrade === undefined ? 'recent' : 'new'

const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])

/** Whether sending the request twice does no harm, and is possible. */
export const isReplayable = ({ method, hasBody, upgrade, headers }: Replay): boolean =>
  !hasBody &&
  upgrade === undefined &&
  (IDEMPOTENT.has(method) || headers.has('idempotency-key') || headers.has('x-idempotency-key'))

type Replay = Pick<Exchange, 'method' | 'hasBody' | 'upgrade' | 'headers'>
