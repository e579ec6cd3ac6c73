import type { RouteEndpoint, RouteEntry } from '@bloomery/contracts'
import {
  areAllFull,
  balancingOf,
  chooseByHash,
  chooseEndpoint,
  chooseStickyEndpoint,
  destinationSlices,
  maglevTable,
  type DestinationSlice,
  type EndpointStates,
  type MaglevTable,
} from '@bloomery/domain'
import { presentAnswer, type AnswerName } from '../answers.js'
import type { AttemptError, FailureClass } from '../failures.js'
import { setInstanceHeaders } from '../middleware/instance-headers.js'
import { STICKY_BY_DEFAULT, stickyCookie, wantedInstance, type StickyPolicy, type Wanted } from '../middleware/sticky-session.js'
import type { Exchange } from '../proxy/exchange.js'
import { parseAddress, type Forwarding, type NextTry, type Target } from '../proxy/forwarding.js'
import type { RawHeaders } from '../proxy/raw-headers.js'
import type { RouteTable } from '../table/route-table.js'

const MAX_ATTEMPTS = 3

export interface InstanceForwardingDeps {
  readonly table: Pick<RouteTable, 'nextCursor' | 'health' | 'openRequests'>
  /** Cells of this machine. */
  readonly localCells: ReadonlySet<string>
  readonly balancing?: {
    /** Most requests under way at one instance; 0: as many as come. */
    readonly maxInFlight?: number | undefined
    /** This router's zone, whose instances it prefers. */
    readonly zone?: string | undefined
  }
  /** Absent: as Cloud Foundry's router is set up. */
  readonly sticky?: StickyPolicy | undefined
}

/** To an instance of the route, by sticky session or the route's balancing; to another one when it fails and that does no harm. */
export class InstanceForwarding implements Forwarding {
  readonly #sticky: StickyPolicy
  readonly #wanted: Wanted | undefined
  readonly #cursor: number
  readonly #tried: RouteEndpoint[] = []
  #endpoint: RouteEndpoint | undefined
  #target: Target | undefined
  #leave: (() => void) | undefined
  #end: (() => void) | undefined
  #startedAt = 0
  #failure: AttemptError | undefined
  #renewed = false

  constructor(
    private readonly deps: InstanceForwardingDeps,
    private readonly exchange: Exchange,
    private readonly route: RouteEntry,
  ) {
    this.#sticky = deps.sticky ?? STICKY_BY_DEFAULT
    this.#wanted = wantedInstance(exchange.headers, this.#sticky)
    this.#cursor = deps.table.nextCursor(route)
  }

  next(): NextTry {
    const failure = this.#failure?.failure
    // A connection that proved to be stale is replaced by a new one to the same endpoint.
    if (failure?.kind === 'stale-connection' && this.#target && !this.#renewed) {
      this.#renewed = true
      this.exchange.outcome.attempts++
      return { do: 'try', target: this.#target, fresh: true }
    }
    if (failure) this.#leaveEndpoint()
    const endpoint = failure?.retriable === false || this.#tried.length >= MAX_ATTEMPTS ? undefined : this.#choose()
    if (!endpoint) {
      if (!failure && areAllFull(this.#states(), this.exchange.candidates))
        return { do: 'answer', answer: presentAnswer('connectionLimit', { host: this.exchange.hostHeader }) }
      const { hostHeader: host } = this.exchange
      if (!this.#failure) return { do: 'answer', answer: presentAnswer('noEndpoints', { host }) }
      const { message: detail } = this.#failure
      return { do: 'answer', answer: presentAnswer(ANSWER_OF[this.#failure.failure.kind] ?? 'endpointFailure', { host, detail }) }
    }
    return { do: 'try', target: this.#enter(endpoint), fresh: false }
  }

  failed(error: AttemptError): void {
    this.#failure = error
    if (!this.#endpoint || !error.failure.marksEndpoint) return
    this.deps.table.health.markFailed(this.#endpoint)
    if (this.#target?.tls && PRUNING.has(error.failure.kind)) this.deps.table.health.prune(this.#endpoint)
  }

  answered(headers: RawHeaders): void {
    // A service's own session says nothing about the instances behind it.
    if (this.exchange.viaRouteService) return
    if (!this.#endpoint) return
    const authenticate = this.#sticky.forNegotiate ? headers.get('www-authenticate') : undefined
    if (this.#wanted === undefined && authenticate === undefined && !headers.has('set-cookie')) return
    const cookie = stickyCookie({
      route: this.route,
      endpoint: this.#endpoint,
      wanted: this.#wanted?.instanceGuid,
      setCookies: headers.getAll('set-cookie'),
      authenticate,
      policy: this.#sticky,
    })
    if (cookie !== undefined) headers.append('Set-Cookie', cookie)
  }

  switched(): void {
    // No stop of an instance waits for the end of a connection that may stay for days.
    this.#end?.()
  }

  end(): void {
    if (this.#startedAt > 0) this.exchange.outcome.backendMs = performance.now() - this.#startedAt
    this.#leaveEndpoint()
  }

  #choose(): RouteEndpoint | undefined {
    const { candidates } = this.exchange
    const [only] = candidates
    const isBound = this.#wanted?.must === true
    // By far the most routes lead to one instance: there is nothing to choose.
    if (only && candidates.length === 1 && !isBound) {
      const limit = this.deps.balancing?.maxInFlight ?? 0
      const isFull = limit > 0 && this.deps.table.health.inFlight(only) >= limit
      return isFull || this.#tried.length > 0 || this.deps.table.health.isPruned(only) ? undefined : only
    }
    const states = this.#states()
    const sticky = chooseStickyEndpoint(this.#wanted?.instanceGuid, states)
    return isBound ? sticky : (sticky ?? this.#chooseByOption(states))
  }

  #chooseByOption(states: EndpointStates<RouteEndpoint> & { readonly endpoints: readonly RouteEndpoint[] }) {
    const { route, exchange } = this
    const { options, endpoints } = route
    const isWhole = exchange.candidates === endpoints
    const balancing = balancingOf(options['loadbalancing'])
    const value = balancing === 'hash' && isWhole ? exchange.headers.get((options['hash_header'] ?? '').toLowerCase()) : undefined
    if (value !== undefined && value !== '')
      return chooseByHash({ ...states, table: hashTableOf(endpoints), value, balance: Number(options['hash_balance'] ?? 0) || 0 })
    const { zone } = this.deps.balancing ?? {}
    return chooseEndpoint({
      ...states,
      // Requests without the header have no place in the ring.
      balancing: balancing === 'hash' ? 'round-robin' : balancing,
      cursor: this.#cursor,
      destinations: isWhole ? slicesOf(endpoints) : undefined,
      // Only the first attempt is particular about where it goes.
      ...(zone === undefined || this.#tried.length > 0
        ? {}
        : { isPreferred: (endpoint: RouteEndpoint) => (endpoint.zone ?? 'default') === zone }),
    })
  }

  #states(): EndpointStates<RouteEndpoint> & { readonly endpoints: readonly RouteEndpoint[] } {
    const { health } = this.deps.table
    const limit = this.deps.balancing?.maxInFlight
    return {
      endpoints: this.exchange.candidates,
      isFailed: (endpoint) => health.isFailed(endpoint),
      isTried: (endpoint) => this.#tried.includes(endpoint) || health.isPruned(endpoint),
      inFlight: (endpoint) => health.inFlight(endpoint),
      ...(limit === undefined ? {} : { limit }),
    }
  }

  #enter(endpoint: RouteEndpoint): Target {
    const { outcome, headers } = this.exchange
    const address = addressOf(endpoint, this.deps.localCells)
    this.#tried.push(endpoint)
    this.#endpoint = endpoint
    this.#renewed = false
    this.#leave = this.deps.table.health.enter(endpoint)
    this.#end = this.deps.table.openRequests.begin(endpoint.instanceGuid)
    this.#startedAt ||= performance.now()
    outcome.endpoint = endpoint
    outcome.backend = address
    outcome.attempts++
    setInstanceHeaders(headers, endpoint, address)
    this.#target = targetOf(endpoint, address)
    return this.#target
  }

  #leaveEndpoint(): void {
    this.#leave?.()
    this.#end?.()
    this.#leave = undefined
    this.#end = undefined
  }
}

/** What is answered when the last attempt has failed that way. */
const ANSWER_OF: Partial<Record<FailureClass['kind'], AnswerName>> = {
  'tls-identity': 'identityMismatch',
  'tls-untrusted': 'untrustedCertificate',
  'tls-handshake': 'handshakeFailed',
  'tls-client-certificate': 'clientCertificateRefused',
}
/** Who is dialled by TLS and fails in one of these ways is out until it may have been made anew. */
const PRUNING: ReadonlySet<FailureClass['kind']> = new Set([
  'dial',
  'dial-timeout',
  'tls-identity',
  'tls-untrusted',
  'tls-handshake',
  'tls-client-certificate',
])

/** Where an instance is dialled: on this machine at its own address, elsewhere by TLS where its cell speaks it. */
export function addressOf(endpoint: RouteEndpoint, localCells: ReadonlySet<string>): string {
  return localCells.has(endpoint.cellId) ? endpoint.localAddress : (endpoint.tlsAddress ?? endpoint.hostAddress)
}

/** How the instance at that address is dialled by TLS, if it is. */
export function tlsOf(endpoint: RouteEndpoint, address: string): Pick<Target, 'tls'> {
  if (address !== endpoint.tlsAddress) return {}
  const { instanceGuid, localAddress } = endpoint
  const port = localAddress.slice(localAddress.lastIndexOf(':') + 1)
  return { tls: { serverName: `${port}.${instanceGuid}`, instanceGuid } }
}

/** Connections of one instance; never shared with another one at the same address. */
export const poolKeyOf = (endpoint: Pick<RouteEndpoint, 'instanceGuid'>): string => `instance ${endpoint.instanceGuid}`

/** Made of a route's list of endpoints, and as long-lived as that. */
const slices = new WeakMap<readonly RouteEndpoint[], { readonly of: readonly DestinationSlice[] | undefined }>()
const rings = new WeakMap<readonly RouteEndpoint[], MaglevTable>()

function slicesOf(endpoints: readonly RouteEndpoint[]): readonly DestinationSlice[] | undefined {
  // By far the most lists have no weights, and need no entry to say so.
  if (endpoints[0]?.weight === undefined) return undefined
  const known = slices.get(endpoints)
  if (known) return known.of
  const found = { of: destinationSlices(endpoints) }
  slices.set(endpoints, found)
  return found.of
}

function hashTableOf(endpoints: readonly RouteEndpoint[]): MaglevTable {
  const known = rings.get(endpoints)
  if (known) return known
  const ring = maglevTable(endpoints.map(({ instanceGuid }) => instanceGuid))
  rings.set(endpoints, ring)
  return ring
}

/** Endpoints are replaced as a whole when the feed changes them, so what is derived from one lives as long as it does. */
const targets = new WeakMap<RouteEndpoint, Target>()

function targetOf(endpoint: RouteEndpoint, address: string): Target {
  const known = targets.get(endpoint)
  if (known) return known
  const target = { key: poolKeyOf(endpoint), ...parseAddress(address), ...tlsOf(endpoint, address) }
  targets.set(endpoint, target)
  return target
}
