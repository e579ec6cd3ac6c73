import type { RouteAck, RouteEndpoint, RouteEntry } from '@bloomery/contracts'
import { diffRoutes, RouteIndex } from '@bloomery/domain'
import type { RouteFeedReceiver } from '@bloomery/feeds'
import { EndpointHealth } from './endpoint-health.js'
import { type KeptRoute, RoutePacking } from './kept-routes.js'
import { OpenRequests } from './open-requests.js'

/** All that a table is, as it is kept on disk. */
export interface TableContents {
  readonly epoch: string
  readonly revision: number
  readonly routes: readonly RouteEntry[]
}

/**
 * The routes as this worker knows them. Changed by the feed alone: when the feed is lost, the table stays as it is.
 * What was seen of endpoints outlives changes of their routes.
 */
export class RouteTable implements RouteFeedReceiver {
  readonly health = new EndpointHealth()
  readonly openRequests = new OpenRequests()
  readonly #index = new RouteIndex<KeptRoute>()
  /** TCP routes, by guid. */
  readonly #tcp = new Map<string, KeptRoute>()
  readonly #packing = new RoutePacking()
  readonly #cursors = new Map<string, number>()
  readonly #listeners: {
    changed: (() => void)[]
    tcpChanged: (() => void)[]
    withdrawn: ((endpoint: RouteEndpoint) => void)[]
  } = { changed: [], tcpChanged: [], withdrawn: [] }
  #at: RouteAck | undefined

  get size(): number {
    return this.#index.size
  }

  /** Epoch and revision applied last; undefined while nothing is known. */
  get position(): RouteAck | undefined {
    return this.#at
  }

  find(host: string, target: string): RouteEntry | undefined {
    return this.#index.find(host, target)
  }

  /** Like `find`, and where no endpoint serves the address, the route that would. */
  findKnown(host: string, target: string): RouteEntry | undefined {
    return this.#index.findKnown(host, target)
  }

  tcpRoutes(): readonly RouteEntry[] {
    return [...this.#tcp.values()]
  }

  /** Where the next round-robin walk of this route begins. Routers begin at random, so that they do not march in step. */
  nextCursor(route: RouteEntry): number {
    const cursor = this.#cursors.get(route.routeGuid) ?? Math.floor(Math.random() * Math.max(route.endpoints.length, 1))
    this.#cursors.set(route.routeGuid, (cursor + 1) % Number.MAX_SAFE_INTEGER)
    return cursor
  }

  snapshot(routes: readonly RouteEntry[], at: RouteAck): void {
    const wanted = routes.map((route) => this.#packing.pack(route))
    const { upsert, remove } = diffRoutes(this.#each(), wanted, (one, other) => one.equals(other))
    this.#apply(upsert, remove, at)
  }

  change(upsert: readonly RouteEntry[], removeGuids: readonly string[], at: RouteAck): void {
    this.#apply(
      upsert.map((route) => this.#packing.pack(route)),
      removeGuids,
      at,
    )
  }

  #apply(upsert: readonly KeptRoute[], removeGuids: readonly string[], at: RouteAck): void {
    const before = new Map<string, RouteEndpoint>()
    let tcpChanged = false
    const note = (route: KeptRoute | undefined): void => {
      for (const each of route?.toJSON().endpoints ?? []) before.set(each.instanceGuid, each)
    }
    for (const route of upsert) {
      note(this.#index.get(route.routeGuid) ?? this.#tcp.get(route.routeGuid))
      if (route.isTcp) {
        this.#tcp.set(route.routeGuid, route)
        tcpChanged = true
      } else this.#index.set(route)
    }
    for (const guid of removeGuids) {
      note(this.#index.delete(guid) ?? this.#tcp.get(guid))
      if (this.#tcp.delete(guid)) tcpChanged = true
      this.#cursors.delete(guid)
    }
    // Most changes keep an instance that was there; only then need no other route be looked at.
    for (const route of upsert) route.strikeOut(before)
    this.#at = at
    this.#announceWithdrawn(before)
    for (const listener of this.#listeners.changed) listener()
    if (tcpChanged) for (const listener of this.#listeners.tcpChanged) listener()
  }

  /** Takes up a table from disk. */
  restore(contents: TableContents): void {
    this.snapshot(contents.routes, { epoch: contents.epoch, revision: contents.revision })
  }

  /** Its routes unfold when they are written as JSON, one at a time. */
  contents(): TableContents | undefined {
    return this.#at && { ...this.#at, routes: [...this.#each()] }
  }

  onChanged(listener: () => void): void {
    this.#listeners.changed.push(listener)
  }

  /** Called when a TCP route has come, gone or changed. */
  onTcpChanged(listener: () => void): void {
    this.#listeners.tcpChanged.push(listener)
  }

  /** Called for endpoints that no route names any more. */
  onWithdrawn(listener: (endpoint: RouteEndpoint) => void): void {
    this.#listeners.withdrawn.push(listener)
  }

  *#each(): Generator<KeptRoute> {
    yield* this.#index.all()
    yield* this.#tcp.values()
  }

  #announceWithdrawn(before: Map<string, RouteEndpoint>): void {
    if (before.size === 0) return
    for (const route of this.#each()) {
      route.strikeOut(before)
      if (before.size === 0) return
    }
    for (const endpoint of before.values()) {
      this.health.clear(endpoint)
      this.openRequests.withdraw(endpoint.instanceGuid)
      for (const listener of this.#listeners.withdrawn) listener(endpoint)
    }
  }
}
