import type { RouteAck, RouteEndpoint, RouteEntry } from '@bloomery/contracts'
import { diffRoutes, RouteIndex } from '@bloomery/domain'
import type { RouteFeedReceiver } from '@bloomery/feeds'
import { CompactRoutes } from './compact-routes.js'
import { EndpointHealth } from './endpoint-health.js'
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
  readonly #index = new RouteIndex<RouteEntry>()
  /** TCP routes, by guid. */
  readonly #tcp = new Map<string, RouteEntry>()
  readonly #compact = new CompactRoutes()
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
    const { upsert, remove } = diffRoutes(this.#all(), routes)
    this.change(upsert, remove, at)
  }

  change(upsert: readonly RouteEntry[], removeGuids: readonly string[], at: RouteAck): void {
    const before = new Map<string, RouteEndpoint>()
    const fresh = new Map<string, RouteEndpoint>()
    let tcpChanged = false
    const note = (route: RouteEntry | undefined): void => {
      for (const each of route?.endpoints ?? []) before.set(each.instanceGuid, each)
    }
    for (const each of upsert) {
      const old = this.#index.get(each.routeGuid) ?? this.#tcp.get(each.routeGuid)
      note(old)
      const siblings = old?.endpoints
      const route = this.#compact.compact(
        each,
        (guid) => fresh.get(guid) ?? siblings?.find(({ instanceGuid }) => instanceGuid === guid),
      )
      if (isHttp(route)) this.#index.set(route)
      else {
        this.#tcp.set(route.routeGuid, route)
        tcpChanged = true
      }
      for (const endpoint of route.endpoints) fresh.set(endpoint.instanceGuid, endpoint)
    }
    for (const guid of removeGuids) {
      note(this.#index.delete(guid) ?? this.#tcp.get(guid))
      if (this.#tcp.delete(guid)) tcpChanged = true
      this.#cursors.delete(guid)
    }
    for (const guid of fresh.keys()) before.delete(guid)
    this.#at = at
    this.#announceWithdrawn(before)
    for (const listener of this.#listeners.changed) listener()
    if (tcpChanged) for (const listener of this.#listeners.tcpChanged) listener()
  }

  /** Takes up a table from disk. */
  restore(contents: TableContents): void {
    this.snapshot(contents.routes, { epoch: contents.epoch, revision: contents.revision })
  }

  contents(): TableContents | undefined {
    return this.#at && { ...this.#at, routes: this.#all() }
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

  *#each(): Generator<RouteEntry> {
    yield* this.#index.all()
    yield* this.#tcp.values()
  }

  #all(): RouteEntry[] {
    return [...this.#each()]
  }

  #announceWithdrawn(before: Map<string, RouteEndpoint>): void {
    if (before.size === 0) return
    for (const route of this.#each()) {
      for (const endpoint of route.endpoints) before.delete(endpoint.instanceGuid)
      if (before.size === 0) return
    }
    for (const endpoint of before.values()) {
      this.health.clear(endpoint)
      this.openRequests.withdraw(endpoint.instanceGuid)
      for (const listener of this.#listeners.withdrawn) listener(endpoint)
    }
  }
}

const isHttp = (route: RouteEntry): boolean => route.protocol === 'http'
