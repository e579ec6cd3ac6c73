import { apiAwayAnswer } from '../answers.js'
import type { AttemptError } from '../failures.js'
import type { Exchange } from '../proxy/exchange.js'
import type { Forwarding, NextTry, Target } from '../proxy/forwarding.js'

/** A restarting API is back within this time as a rule; requests of which it has seen nothing wait for it. */
const PATIENCE_MS = 8_000
const PAUSE_MS = 100

/** To one of the API's listeners, each in turn; waits for the API while it is away. */
export class ApiForwarding implements Forwarding {
  readonly #deadline: number
  #tries = 0
  #failure: AttemptError | undefined
  #startedAt = 0
  #waited = false

  constructor(
    private readonly exchange: Exchange,
    private readonly upstreams: readonly Target[],
    private readonly turn: number,
    patienceMs = PATIENCE_MS,
  ) {
    // Whoever asks for health wants the truth of this moment.
    this.#deadline = Date.now() + (/^\/healthz(\?|$)/.test(exchange.target) ? 0 : patienceMs)
  }

  next(): NextTry {
    const target = this.upstreams[(this.turn + this.#tries) % this.upstreams.length]
    if (!target) return { do: 'answer', answer: apiAwayAnswer('No API upstream is configured; set BLOOMERY_API_UPSTREAMS.') }
    const failure = this.#failure?.failure
    if (failure && !failure.retriable)
      return {
        do: 'answer',
        answer: apiAwayAnswer(
          'The platform API was interrupted while it handled the request. Check whether it took effect, then try again.',
        ),
      }
    const triedAll = this.#tries >= this.upstreams.length
    if (failure && triedAll && Date.now() >= this.#deadline)
      return {
        do: 'answer',
        answer: apiAwayAnswer(
          'The platform API is not available at the moment. Running apps are not affected. Try again in a few seconds.',
        ),
      }
    if (triedAll && failure?.kind !== 'stale-connection' && !this.#waited) {
      this.#waited = true
      return { do: 'wait', forMs: PAUSE_MS }
    }
    this.#waited = false
    const { outcome } = this.exchange
    outcome.attempts++
    outcome.backend = `${target.host}:${target.port}`
    this.#startedAt ||= performance.now()
    // After a failure only new connections: the pool may hold more that lead nowhere.
    return { do: 'try', target, fresh: this.#tries++ > 0 }
  }

  failed(error: AttemptError): void {
    this.#failure = error
  }

  answered(): void {
    // The API's answers are passed on as they are.
  }

  switched(): void {
    // Nothing waits for the end of a switched connection to the API.
  }

  end(): void {
    if (this.#startedAt > 0) this.exchange.outcome.backendMs = performance.now() - this.#startedAt
  }
}
