import type { RouteEndpoint } from '@bloomery/contracts'

/** A failed endpoint is passed over for this long. */
const FAILED_FOR_MS = 30_000

type Key = Pick<RouteEndpoint, 'instanceGuid' | 'hostAddress'>

/** Made once for each endpoint that the feed brought. */
const keys = new WeakMap<Key, string>()

function keyOf(endpoint: Key): string {
  const known = keys.get(endpoint)
  if (known !== undefined) return known
  const key = `${endpoint.instanceGuid} ${endpoint.hostAddress}`
  keys.set(endpoint, key)
  return key
}

/** An endpoint that is not who it should be, or cannot be dialled by TLS, is not chosen at all for this long: registrations come as often. */
const PRUNED_FOR_MS = 20_000

/** What this router has seen of endpoints: failures of late, and requests under way. */
export class EndpointHealth {
  readonly #failedUntil = new Map<string, number>()
  readonly #prunedUntil = new Map<string, number>()
  readonly #inFlight = new Map<string, number>()

  constructor(private readonly now: () => number = Date.now) {}

  isFailed(endpoint: Key): boolean {
    if (this.#failedUntil.size === 0) return false
    const key = keyOf(endpoint)
    const until = this.#failedUntil.get(key)
    if (until === undefined) return false
    if (until > this.now()) return true
    this.#failedUntil.delete(key)
    return false
  }

  markFailed(endpoint: Key): void {
    this.#failedUntil.set(keyOf(endpoint), this.now() + FAILED_FOR_MS)
  }

  /** Not to be chosen, also where no other is left. */
  isPruned(endpoint: Key): boolean {
    if (this.#prunedUntil.size === 0) return false
    const key = keyOf(endpoint)
    const until = this.#prunedUntil.get(key)
    if (until === undefined) return false
    if (until > this.now()) return true
    this.#prunedUntil.delete(key)
    return false
  }

  prune(endpoint: Key): void {
    this.#prunedUntil.set(keyOf(endpoint), this.now() + PRUNED_FOR_MS)
  }

  clear(endpoint: Key): void {
    this.#failedUntil.delete(keyOf(endpoint))
    this.#prunedUntil.delete(keyOf(endpoint))
  }

  inFlight(endpoint: Key): number {
    return this.#inFlight.get(keyOf(endpoint)) ?? 0
  }

  /** Counts a request; the returned function ends it. */
  enter(endpoint: Key): () => void {
    const key = keyOf(endpoint)
    this.#inFlight.set(key, (this.#inFlight.get(key) ?? 0) + 1)
    let left = false
    return () => {
      if (left) return
      left = true
      const count = (this.#inFlight.get(key) ?? 1) - 1
      if (count > 0) this.#inFlight.set(key, count)
      else this.#inFlight.delete(key)
    }
  }
}
