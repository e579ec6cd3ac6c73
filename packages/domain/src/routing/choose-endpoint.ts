/** Names of the balancing algorithms of a route's `loadbalancing` option. */
export const BALANCING = ['round-robin', 'least-connection', 'hash'] as const
export type Balancing = (typeof BALANCING)[number]

/** The option's algorithm; round robin where it is absent or unknown. */
export const balancingOf = (option: string | undefined): Balancing => BALANCING.find((name) => name === option) ?? 'round-robin'

/** What is known of endpoints at the moment of choosing. */
export interface EndpointStates<E> {
  /** Failed lately; passed over while another endpoint is left. */
  readonly isFailed: (endpoint: E) => boolean
  /** Tried for this request already; never chosen again. */
  readonly isTried: (endpoint: E) => boolean
  /** Requests under way from this router. */
  readonly inFlight: (endpoint: E) => number
  /** Most requests under way at one endpoint; more are never sent to it. Absent: no limit. */
  readonly limit?: number
}

/** Endpoints that stand for one destination of a route: a slice of its list, and the share of requests that is theirs. */
export interface DestinationSlice {
  readonly from: number
  /** Not included. */
  readonly to: number
  readonly weight: number
}

/** Everything that the choice among a route's endpoints depends on. */
export interface EndpointChoice<E> extends EndpointStates<E> {
  readonly endpoints: readonly E[]
  readonly balancing: Exclude<Balancing, 'hash'>
  /** Where the walk begins; a whole number that grows by one with each request. */
  readonly cursor: number
  /** Endpoints to prefer while there is a sound one among them, e.g. those of the router's own zone. */
  readonly isPreferred?: (endpoint: E) => boolean
  /** Destinations with weights; absent: all endpoints count alike. */
  readonly destinations?: readonly DestinationSlice[] | undefined
}

const WORST = 4

/**
 * The endpoint to try next; undefined when each has been tried or is at its limit. When all that are left have failed lately, the
 * marks are ignored: a doubtful endpoint is better than none. Weights hold as long as each destination has an endpoint to choose.
 */
export function chooseEndpoint<E>(choice: EndpointChoice<E>): E | undefined {
  const { endpoints, destinations, cursor } = choice
  if (!destinations) return best(choice, 0, endpoints.length, cursor, WORST)?.endpoint
  return chooseByWeight(choice, destinations)
}

interface Candidate<E> {
  readonly endpoint: E
  readonly rank: number
}

/** 0: sound and preferred, 1: sound, 2 and 3: failed lately; undefined: not to be chosen. */
function rankOf<E>(choice: EndpointChoice<E>, endpoint: E): number | undefined {
  if (choice.isTried(endpoint) || isFull(choice, endpoint)) return undefined
  return (choice.isFailed(endpoint) ? 2 : 0) + (choice.isPreferred && !choice.isPreferred(endpoint) ? 1 : 0)
}

const isFull = <E>({ limit, inFlight }: EndpointStates<E>, endpoint: E): boolean =>
  limit !== undefined && limit > 0 && inFlight(endpoint) >= limit

/** The best of a slice, walked from the cursor: of equal rank the first, or the least busy. */
function best<E>(choice: EndpointChoice<E>, from: number, to: number, cursor: number, below: number): Candidate<E> | undefined {
  const size = to - from
  const leastBusy = choice.balancing === 'least-connection'
  let found: Candidate<E> | undefined
  let load = Infinity
  for (let step = 0; step < size; step++) {
    const endpoint = choice.endpoints[from + ((cursor + step) % size)]
    if (endpoint === undefined) continue
    const rank = rankOf(choice, endpoint)
    if (rank === undefined || rank >= below || rank > (found?.rank ?? WORST)) continue
    if (!leastBusy) {
      if (found?.rank === rank) continue
      found = { endpoint, rank }
      if (rank === 0) return found
      continue
    }
    const busy = choice.inFlight(endpoint)
    if (found?.rank === rank && busy >= load) continue
    found = { endpoint, rank }
    load = busy
  }
  return found
}

/** Successive multiples of the golden ratio spread evenly, so that any stretch of requests comes close to the weights. */
const GOLDEN = 0.618_033_988_749_894_9

function chooseByWeight<E>(choice: EndpointChoice<E>, destinations: readonly DestinationSlice[]): E | undefined {
  // Sound endpoints anywhere come before failed ones where the weights point.
  for (const below of [2, WORST]) {
    const usable = destinations.filter(({ from, to }) => best(choice, from, to, 0, below) !== undefined)
    let point = ((choice.cursor * GOLDEN) % 1) * usable.reduce((sum, { weight }) => sum + weight, 0)
    for (const [i, { from, to, weight }] of usable.entries()) {
      // Where in its share the point lies says which of the destination's endpoints has its turn.
      if (point < weight || i === usable.length - 1)
        return best(choice, from, to, Math.floor((Math.min(point, weight) / Math.max(weight, 1)) * (to - from)), below)?.endpoint
      point -= weight
    }
  }
  return undefined
}

/** The instance that a sticky session names, while it is there, below its limit, and has not failed lately or been tried for this request. */
export function chooseStickyEndpoint<E extends { readonly instanceGuid: string }>(
  instanceGuid: string | undefined,
  choice: EndpointStates<E> & { readonly endpoints: readonly E[] },
): E | undefined {
  if (instanceGuid === undefined) return undefined
  return choice.endpoints.find(
    (endpoint) =>
      endpoint.instanceGuid === instanceGuid &&
      !choice.isFailed(endpoint) &&
      !choice.isTried(endpoint) &&
      !isFull(choice, endpoint),
  )
}

/** Whether there are endpoints, and every one is at its limit. */
export const areAllFull = <E>(states: EndpointStates<E>, endpoints: readonly E[]): boolean =>
  endpoints.length > 0 && endpoints.every((endpoint) => isFull(states, endpoint))
