import type { Exchange } from './proxy/exchange.js'

/** How far an attempt had come when it failed. */
export type Phase = 'connecting' | 'reused-connection' | 'fresh-connection'

/** What a failed attempt means for the request and for the endpoint. */
export interface FailureClass {
  readonly kind: 'dial' | 'dial-timeout' | 'stale-connection' | 'reset' | 'no-response' | 'bad-response'
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

const ended = (code: string): boolean => code === 'ECONNRESET' || code === 'EPIPE'

/** In order; the first that fits counts. `replayable`: no body, and a method or key that says repeating does no harm. */
const CLASSES: readonly { readonly fits: (facts: FailureFacts) => boolean; readonly is: FailureClass }[] = [
  {
    fits: ({ phase, code }) => phase === 'connecting' && code === DIAL_TIMEOUT,
    is: { kind: 'dial-timeout', retriable: true, marksEndpoint: true },
  },
  { fits: ({ phase }) => phase === 'connecting', is: { kind: 'dial', retriable: true, marksEndpoint: true } },
  {
    // The endpoint closed a connection it held idle, just as the next request went out on it. That says nothing against it.
    fits: ({ phase, code, replayable }) => phase === 'reused-connection' && ended(code) && replayable,
    is: { kind: 'stale-connection', retriable: true, marksEndpoint: false },
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

const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])

/** Whether sending the request twice does no harm, and is possible. */
export const isReplayable = ({ method, hasBody, upgrade, headers }: Replay): boolean =>
  !hasBody &&
  upgrade === undefined &&
  (IDEMPOTENT.has(method) || headers.has('idempotency-key') || headers.has('x-idempotency-key'))

type Replay = Pick<Exchange, 'method' | 'hasBody' | 'upgrade' | 'headers'>
