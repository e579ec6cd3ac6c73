/** Names of the balancing algorithms of a route's `loadbalancing` option. */
export const BALANCING = ['round-robin', 'least-connection'] as const
export type Balancing = (typeof BALANCING)[number]

/** Everything that the choice among a route's endpoints depends on. */
export interface EndpointChoice<E> {
  readonly endpoints: readonly E[]
  readonly balancing: Balancing
  /** Where the walk begins; any whole number. */
  readonly cursor: number
  /** Failed lately; passed over while another endpoint is left. */
  readonly isFailed: (endpoint: E) => boolean
  /** Tried for this request already; never chosen again. */
  readonly isTried: (endpoint: E) => boolean
  readonly inFlight: (endpoint: E) => number
}

/** The option's algorithm; round robin where it is absent or unknown. */
export const balancingOf = (option: string | undefined): Balancing => BALANCING.find((name) => name === option) ?? 'round-robin'

/**
 * The endpoint to try next; undefined when each has been tried. When all that are left have failed lately, the marks are
 * ignored: a doubtful endpoint is better than none.
 */
export function chooseEndpoint<E>(choice: EndpointChoice<E>): E | undefined {
  const { endpoints, isFailed, isTried } = choice
  const untried = rotate(endpoints, choice.cursor).filter((endpoint) => !isTried(endpoint))
  const sound = untried.filter((endpoint) => !isFailed(endpoint))
  const candidates = sound.length > 0 ? sound : untried
  if (choice.balancing === 'round-robin') return candidates[0]
  return candidates.reduce<E | undefined>(
    (best, endpoint) => (best === undefined || choice.inFlight(endpoint) < choice.inFlight(best) ? endpoint : best),
    undefined,
  )
}

/** The instance that a sticky session names, while it is there and has not failed lately or been tried for this request. */
export function chooseStickyEndpoint<E extends { readonly instanceGuid: string }>(
  instanceGuid: string | undefined,
  choice: Pick<EndpointChoice<E>, 'endpoints' | 'isFailed' | 'isTried'>,
): E | undefined {
  if (instanceGuid === undefined) return undefined
  return choice.endpoints.find(
    (endpoint) => endpoint.instanceGuid === instanceGuid && !choice.isFailed(endpoint) && !choice.isTried(endpoint),
  )
}

function rotate<E>(list: readonly E[], by: number): readonly E[] {
  if (list.length < 2) return list
  const at = by % list.length
  return at === 0 ? list : [...list.slice(at), ...list.slice(0, at)]
}
