import type { RouteEntry, RouteFeedMessage } from '@bloomery/contracts'
import { diffRoutes } from '@bloomery/domain'

/** An address of a cell that routers were told of, and whose app it served. */
export interface PublishedAddress {
  readonly cellId: string
  readonly address: string
  readonly appGuid: string
}

/** What a publication would change; computed first, so that what must be on record before can be written. */
export interface PendingPublication {
  readonly revision: number
  readonly upsert: readonly RouteEntry[]
  /** Guids. */
  readonly remove: readonly string[]
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
 * nothing is withdrawn: subscribers keep what they have, and new ones get the last table known. What a publication costs depends on
 * what it changes, not on the size of the table.
 */
export class RouteFeed {
  #epoch: string | undefined
  #revision = 0
  readonly #routes = new Map<string, RouteEntry>()
  /** How often routes name an address, and an instance. */
  readonly #addresses = new Map<string, number>()
  readonly #instances = new Map<string, number>()
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
    return this.#instances.has(instanceGuid)
  }

  /** What publishing these as all routes there are would change; undefined: nothing. A new epoch always starts with such a publication. */
  prepare(epoch: string, routes: readonly RouteEntry[]): PendingPublication | undefined {
    const { upsert, remove } = diffRoutes(this.#routes.values(), routes)
    return this.#pending(epoch, upsert, remove)
  }

  /** What publishing these routes, and that those are no more, would change; undefined: nothing. */
  prepareChange(epoch: string, routes: readonly RouteEntry[], gone: readonly string[]): PendingPublication | undefined {
    const known = routes.flatMap(({ routeGuid }) => this.#routes.get(routeGuid) ?? [])
    const { upsert } = diffRoutes(known, routes)
    return this.#pending(
      epoch,
      upsert,
      gone.filter((guid) => this.#routes.has(guid)),
    )
  }

  publish(epoch: string, { revision, upsert, remove }: PendingPublication): void {
    const fresh = epoch !== this.#epoch
    this.#epoch = epoch
    this.#revision = revision
    for (const guid of remove) {
      this.#count(this.#routes.get(guid), -1)
      this.#routes.delete(guid)
    }
    for (const route of upsert) {
      this.#count(this.#routes.get(route.routeGuid), -1)
      this.#count(route, 1)
      this.#routes.set(route.routeGuid, route)
    }
    if (fresh) for (const subscriber of this.#subscribers) this.#sendSnapshot(epoch, subscriber)
    else
      this.#broadcast({
        type: 'change',
        epoch,
        revision,
        upsert: [...upsert],
        remove: remove.map((routeGuid) => ({ routeGuid })),
      })
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

  #pending(epoch: string, upsert: readonly RouteEntry[], remove: readonly string[]): PendingPublication | undefined {
    const fresh = epoch !== this.#epoch
    if (!fresh && upsert.length === 0 && remove.length === 0) return undefined
    const changes = new Map<string, { readonly address: PublishedAddress; count: number }>()
    const note = (route: RouteEntry | undefined, by: 1 | -1): void => {
      for (const endpoint of route?.endpoints ?? []) {
        const key = addressKey(endpoint)
        const change = changes.get(key) ?? { address: addressOf(endpoint), count: 0 }
        change.count += by
        changes.set(key, change)
      }
    }
    for (const guid of remove) note(this.#routes.get(guid), -1)
    for (const route of upsert) {
      note(this.#routes.get(route.routeGuid), -1)
      note(route, 1)
    }
    const withdrawn = [...changes].flatMap(([key, { address, count }]) => {
      const before = this.#addresses.get(key) ?? 0
      return before > 0 && before + count <= 0 ? [address] : []
    })
    return { revision: fresh ? 1 : this.#revision + 1, upsert, remove, withdrawn }
  }

  #count(route: RouteEntry | undefined, by: 1 | -1): void {
    for (const endpoint of route?.endpoints ?? []) {
      add(this.#addresses, addressKey(endpoint), by)
      add(this.#instances, endpoint.instanceGuid, by)
    }
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

function add(counts: Map<string, number>, key: string, by: number): void {
  const count = (counts.get(key) ?? 0) + by
  if (count > 0) counts.set(key, count)
  else counts.delete(key)
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
