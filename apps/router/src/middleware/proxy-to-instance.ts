import type { RouteEndpoint, RouteEntry } from '@bloomery/contracts'
import { balancingOf, chooseEndpoint, chooseStickyEndpoint } from '@bloomery/domain'
import { answer } from '../answers.js'
import { AttemptError } from '../failures.js'
import { attempt, ClientGoneError, type Answered } from '../proxy/attempt.js'
import { parseAddress, type Connections, type Target } from '../proxy/connections.js'
import type { Exchange, Middleware } from '../proxy/exchange.js'
import { relayResponse, responseHeaders } from '../proxy/relay-response.js'
import { relayUpgrade } from '../proxy/relay-upgrade.js'
import type { RouteTable } from '../table/route-table.js'
import { setInstanceHeaders } from './instance-headers.js'
import { stickyCookie, wantedInstance } from './sticky-session.js'

const MAX_ATTEMPTS = 3

export interface ProxyDeps {
  readonly table: Pick<RouteTable, 'nextCursor' | 'health' | 'openRequests'>
  readonly connections: Connections
  /** Cells of this machine. */
  readonly localCells: ReadonlySet<string>
}

/** The last step: hands the request to an instance and the instance's answer to the client. */
export const proxyToInstance =
  (deps: ProxyDeps): Middleware =>
  async (exchange) => {
    const { route } = exchange
    if (!route) throw new Error('the lookup comes first')
    const wanted = wantedInstance(exchange.headers)
    const tried = new Set<RouteEndpoint>()
    const cursor = deps.table.nextCursor(route)
    let failure = 'no endpoint is left'
    for (;;) {
      const endpoint = tried.size < MAX_ATTEMPTS ? choose(deps, route, exchange, { wanted, tried, cursor }) : undefined
      if (!endpoint) return answer(exchange, 'endpointFailure', failure)
      tried.add(endpoint)
      const leave = deps.table.health.enter(endpoint)
      const end = deps.table.openRequests.begin(endpoint.instanceGuid)
      try {
        const answered = await ask(deps, exchange, endpoint)
        // A switched connection may stay for days: no stop waits for its end.
        if (answered.kind === 'upgrade') end()
        await relay(exchange, route, endpoint, wanted, answered)
        return
      } catch (error) {
        if (error instanceof ClientGoneError) {
          exchange.outcome.status = 499
          return
        }
        if (!(error instanceof AttemptError)) throw error
        failure = error.message
        if (error.failure.marksEndpoint) deps.table.health.markFailed(endpoint)
        if (!error.failure.retriable) return answer(exchange, 'endpointFailure', failure)
      } finally {
        leave()
        end()
      }
    }
  }

function choose(
  { table }: ProxyDeps,
  route: RouteEntry,
  { candidates }: Exchange,
  state: { wanted: string | undefined; tried: ReadonlySet<RouteEndpoint>; cursor: number },
): RouteEndpoint | undefined {
  const choice = {
    endpoints: candidates,
    balancing: balancingOf(route.options['loadbalancing']),
    cursor: state.cursor,
    isFailed: (endpoint: RouteEndpoint) => table.health.isFailed(endpoint),
    isTried: (endpoint: RouteEndpoint) => state.tried.has(endpoint),
    inFlight: (endpoint: RouteEndpoint) => table.health.inFlight(endpoint),
  }
  return chooseStickyEndpoint(state.wanted, choice) ?? chooseEndpoint(choice)
}

/** One endpoint; a connection that proved to be stale is replaced by a new one to the same endpoint. */
async function ask(deps: ProxyDeps, exchange: Exchange, endpoint: RouteEndpoint): Promise<Answered> {
  const { outcome } = exchange
  const address = deps.localCells.has(endpoint.cellId) ? endpoint.localAddress : endpoint.hostAddress
  const target: Target = { key: poolKeyOf(endpoint), ...parseAddress(address) }
  const headers = exchange.headers.clone()
  setInstanceHeaders(headers, endpoint, address)
  outcome.endpoint = endpoint
  outcome.backend = address
  const startedAt = performance.now()
  try {
    for (let fresh = false; ; fresh = true) {
      outcome.attempts++
      try {
        return await attempt(exchange, target, headers, deps.connections, fresh)
      } catch (error) {
        if (fresh || !(error instanceof AttemptError) || error.failure.kind !== 'stale-connection') throw error
      }
    }
  } finally {
    outcome.backendMs += performance.now() - startedAt
  }
}

/** Connections of one instance; never shared with another one at the same address. */
export const poolKeyOf = (endpoint: Pick<RouteEndpoint, 'instanceGuid'>): string => `instance ${endpoint.instanceGuid}`

async function relay(
  exchange: Exchange,
  route: RouteEntry,
  endpoint: RouteEndpoint,
  wanted: string | undefined,
  answered: Answered,
): Promise<void> {
  if (answered.kind === 'upgrade') {
    if (exchange.upgrade) return relayUpgrade(exchange, answered.incoming, answered.socket, answered.head)
    answered.socket.destroy()
    return answer(exchange, 'endpointFailure', 'the endpoint switched protocols without being asked')
  }
  const headers = responseHeaders(exchange, answered.incoming)
  const cookie = stickyCookie({ route, endpoint, wanted, setCookies: headers.getAll('set-cookie') })
  if (cookie !== undefined) headers.append('Set-Cookie', cookie)
  const startedAt = performance.now()
  await relayResponse(exchange, answered.call, answered.incoming, headers)
  exchange.outcome.backendMs += performance.now() - startedAt
}
