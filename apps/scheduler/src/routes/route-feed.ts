import type { RouteEntry, RouteFeedMessage } from '@bloomery/contracts'
import { diffRoutes, type RouteDiff } from '@bloomery/domain'

/** An address of a cell that routers were told of, and whose app it served. */
export interface PublishedAddress {
  readonly cellId: string
  readonly address: string
  readonly appGuid: string
}

/** What publishing a set of routes would change; computed first, so that what must be on record before can be written. */
export interface PendingPublication {
  readonly revision: number
  readonly diff: RouteDiff<RouteEntry>
  readonly routes: readonly RouteEntry[]
  readonly withdrawn: readonly PublishedAddress[]
}

/** Routes of one line of a snapshot. */
const PART_ROUTES = 500

export interface FeedSubscriber {
  /** One message, as a line. */
  send(line: string): void
  end(): void
}

/**
 * The table as routers shall have it, numbered by (epoch, revision). While the database is away nothing is published, and
 * nothing is withdrawn: subscribers keep what they have, and new ones get the last table known.
 */
export class RouteFeed {
  #epoch: string | undefined
  #revision = 0
  #routes = new Map<string, RouteEntry>()
  readonly #subscribers = new Set<FeedSubscriber>()

  get revision(): number {
    return this.#revision
  }
  get epoch(): string | undefined {
    return this.#epoch
  }
  get routeCount(): number {
    return this.#routes.size
  }

  /** Whether routers may know this instance. */
  holds(instanceGuid: string): boolean {
    return this.#instances().has(instanceGuid)
  }

  /** What publishing these routes would change; undefined: nothing. A new epoch always starts with a publication. */
  prepare(epoch: string, routes: readonly RouteEntry[]): PendingPublication | undefined {
    const fresh = epoch !== this.#epoch
    const diff = diffRoutes(this.#routes.values(), routes)
    if (!fresh && diff.upsert.length === 0 && diff.remove.length === 0) return undefined
    const kept = new Set(routes.flatMap(({ endpoints }) => endpoints.map(addressKey)))
    const before = [...this.#routes.values()].flatMap(({ endpoints }) => endpoints)
    const withdrawn = new Map(
      before.filter((endpoint) => !kept.has(addressKey(endpoint))).map((endpoint) => [addressKey(endpoint), addressOf(endpoint)]),
    )
    return { revision: fresh ? 1 : this.#revision + 1, diff, routes, withdrawn: [...withdrawn.values()] }
  }

  publish(epoch: string, { revision, diff, routes }: PendingPublication): void {
    const fresh = epoch !== this.#epoch
    this.#epoch = epoch
    this.#revision = revision
    this.#routes = new Map(routes.map((route) => [route.routeGuid, route]))
    this.#instanceGuids = undefined
    const change: RouteFeedMessage = {
      type: 'change',
      epoch,
      revision,
      upsert: [...diff.upsert],
      remove: diff.remove.map((routeGuid) => ({ routeGuid })),
    }
    if (fresh) for (const subscriber of this.#subscribers) this.#sendSnapshot(epoch, subscriber)
    else this.#broadcast(change)
  }

  /** undefined while nothing has been published yet. Returns a function that ends the subscription. */
  subscribe(subscriber: FeedSubscriber): (() => void) | undefined {
    if (this.#epoch === undefined) return undefined
    this.#sendSnapshot(this.#epoch, subscriber)
    this.#subscribers.add(subscriber)
    return () => this.#subscribers.delete(subscriber)
  }

  heartbeat(): void {
    if (this.#epoch !== undefined) this.#broadcast({ type: 'heartbeat', epoch: this.#epoch, revision: this.#revision })
  }

  /** Another scheduler publishes from now on: its table is the newer one. */
  resign(): void {
    this.#epoch = undefined
    for (const subscriber of this.#subscribers) subscriber.end()
    this.#subscribers.clear()
  }

  #instanceGuids: ReadonlySet<string> | undefined
  #instances(): ReadonlySet<string> {
    this.#instanceGuids ??= new Set(
      [...this.#routes.values()].flatMap(({ endpoints }) => endpoints.map(({ instanceGuid }) => instanceGuid)),
    )
    return this.#instanceGuids
  }

  /** In parts, so that neither side has to hold or read a large table in one piece. */
  #sendSnapshot(epoch: string, subscriber: FeedSubscriber): void {
    const { revision } = this
    let part: RouteEntry[] = []
    for (const route of this.#routes.values()) {
      if (part.length === PART_ROUTES) {
        subscriber.send(asLine({ type: 'snapshot-part', epoch, revision, routes: part }))
        part = []
      }
      part.push(route)
    }
    subscriber.send(asLine({ type: 'snapshot', epoch, revision, routes: part }))
  }

  #broadcast(message: RouteFeedMessage): void {
    const line = asLine(message)
    for (const subscriber of this.#subscribers) subscriber.send(line)
  }
}

const asLine = (message: RouteFeedMessage): string => `${JSON.stringify(message)}\n`
const containerAddress = (localAddress: string): string => localAddress.slice(0, localAddress.lastIndexOf(':'))
const addressOf = (endpoint: { cellId: string; localAddress: string; appGuid: string }): PublishedAddress => ({
  cellId: endpoint.cellId,
  address: containerAddress(endpoint.localAddress),
  appGuid: endpoint.appGuid,
})
const addressKey = (endpoint: { cellId: string; localAddress: string; appGuid: string }): string =>
  `${endpoint.cellId} ${containerAddress(endpoint.localAddress)} ${endpoint.appGuid}`
