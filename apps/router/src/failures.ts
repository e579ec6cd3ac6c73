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
