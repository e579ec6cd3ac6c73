import { setTimeout as delay } from 'node:timers/promises'
import { answerApiAway } from '../answers.js'
import { AttemptError } from '../failures.js'
import { attempt, ClientGoneError } from '../proxy/attempt.js'
import type { Connections, Target } from '../proxy/connections.js'
import type { Exchange, Middleware } from '../proxy/exchange.js'
import { relayResponse, responseHeaders } from '../proxy/relay-response.js'
import { relayUpgrade } from '../proxy/relay-upgrade.js'

/** A restarting API is back within this time as a rule; requests of which it has seen nothing wait for it. */
const PATIENCE_MS = 8_000
const PAUSE_MS = 100

export interface PlatformHostsDeps {
  readonly hosts: ReadonlySet<string>
  readonly upstreams: readonly Target[]
  readonly connections: Connections
  /** @default 8 s */
  readonly patienceMs?: number
}

/** Hosts of the platform itself go to the API's own listeners; all else goes on. */
export const platformHosts = (deps: PlatformHostsDeps): Middleware => {
  let turn = 0
  return async (exchange, next) => {
    if (!deps.hosts.has(exchange.host)) return next()
    await serve(deps, exchange, turn++)
  }
}

async function serve(deps: PlatformHostsDeps, exchange: Exchange, turn: number): Promise<void> {
  setForwarding(exchange)
  const { outcome, response } = exchange
  // Whoever asks for health wants the truth of this moment.
  const patience = /^\/healthz(\?|$)/.test(exchange.target) ? 0 : (deps.patienceMs ?? PATIENCE_MS)
  const deadline = Date.now() + patience
  const startedAt = performance.now()
  for (let tries = 0; ; tries++) {
    const target = deps.upstreams[(turn + tries) % deps.upstreams.length]
    if (!target) return answerApiAway(exchange, 'No API upstream is configured; set BLOOMERY_API_UPSTREAMS.')
    outcome.attempts++
    outcome.backend = `${target.host}:${target.port}`
    try {
      // After a failure only new connections: the pool may hold more that lead nowhere.
      const answered = await attempt(exchange, target, exchange.headers, deps.connections, tries > 0)
      if (answered.kind === 'upgrade') return await relayUpgrade(exchange, answered.incoming, answered.socket, answered.head)
      await relayResponse(exchange, answered.call, answered.incoming, responseHeaders(exchange, answered.incoming))
      outcome.backendMs = performance.now() - startedAt
      return
    } catch (error) {
      if (error instanceof ClientGoneError) {
        outcome.status = 499
        return
      }
      if (!(error instanceof AttemptError)) throw error
      const triedAll = tries + 1 >= deps.upstreams.length
      if (!error.failure.retriable || (triedAll && Date.now() >= deadline) || response.destroyed)
        return answerApiAway(
          exchange,
          error.failure.retriable
            ? 'The platform API is not available at the moment. Running apps are not affected. Try again in a few seconds.'
            : 'The platform API was interrupted while it handled the request. Check whether it took effect, then try again.',
        )
      if (triedAll && error.failure.kind !== 'stale-connection') await delay(PAUSE_MS)
    }
  }
}

/** The API builds links from these; they say how the client reached this router. */
function setForwarding({ headers, hostHeader, secure }: Exchange): void {
  const proto = headers.get('x-forwarded-proto') === 'https' ? 'https' : 'http'
  headers.set('X-Forwarded-Host', hostHeader)
  headers.set('X-Forwarded-Port', /:(\d+)$/.exec(hostHeader)?.[1] ?? (proto === 'https' || secure ? '443' : '80'))
}
