import { sql, type Lease, type Pool } from '@bloomery/database/sql'
import type { CellSessions } from '../cells/cell-sessions.js'
import type { Clock } from '../clock.js'
import { guarded } from '../leadership/guarded.js'
import { createSerial } from '../loops/serial.js'
import { listInstances } from '../state/read-state.js'
import type { CellRow } from '../state/rows.js'
import { buildRouteEntries } from './build-entries.js'
import { listRoutes, type RouteRow } from './read-routes.js'
import { areRouteChanges, takeRouteChanges } from './route-changes.js'
import type { PendingPublication, RouteFeed } from './route-feed.js'
import { recordWithdrawals } from './withdrawals.js'

/** All routes are read this often though nothing says that they have changed. */
const SWEEP_MS = 10 * 60_000
/** Beyond that many changes at once reading everything is less work. */
const MANY = 20_000

export interface PublishRoutesDeps {
  readonly pool: Pool
  readonly lease: Lease
  readonly clock: Clock
  readonly feed: RouteFeed
  readonly sessions: CellSessions
}

/**
 * Keeps the feed to the database for one term: all routes when it begins, when a publication has failed and in a sweep now and then; else only
 * those of which triggers say that they may have changed.
 */
export class RoutePublisher {
  readonly #serial = createSerial()
  #readAllAt = -Infinity
  /** Of cells; undefined until they are known, for endpoints are told with them. */
  #zones: ReadonlyMap<string, string> | undefined
  /** When this term's table was first published. */
  publishedAt: Date | undefined

  constructor(private readonly deps: PublishRoutesDeps) {}

  /** Cells are part of what endpoints are told with. */
  useCells(cells: readonly CellRow[]): void {
    const zones = new Map(cells.map(({ id, zone }) => [id, zone]))
    const before = this.#zones
    const isSame = zones.size === before?.size && [...zones].every(([id, zone]) => before.get(id) === zone)
    if (isSame) return
    this.#zones = zones
    this.#readAllAt = -Infinity
  }

  /** Publishes what has changed; one after another, whoever asks. */
  publish(): Promise<void> {
    return this.#serial(async () => {
      try {
        const pending = await this.#prepare()
        if (pending) await this.#publish(pending)
      } catch (error) {
        // What was taken is known to nobody else.
        this.#readAllAt = -Infinity
        throw error
      }
    })
  }

  get #epoch(): string {
    return String(this.deps.lease.token)
  }

  async #prepare(): Promise<PendingPublication | undefined> {
    const { pool, lease, feed } = this.deps
    if (!this.#zones) return undefined
    const now = performance.now()
    const isDue = now - this.#readAllAt >= SWEEP_MS
    if (!isDue && !(await areRouteChanges(pool))) return undefined
    const { routeGuids, appGuids } = await guarded(pool, lease, takeRouteChanges)
    if (isDue || routeGuids.length + appGuids.length > MANY) {
      const all = this.#entriesOf(await listRoutes(pool), await listInstances(pool, sql`routable`))
      const pending = feed.prepare(this.#epoch, all)
      this.#readAllAt = now
      return pending
    }
    const routes = await listRoutes(
      pool,
      sql`(r.guid = ANY(${routeGuids}) OR r.guid IN (SELECT route_guid FROM route_destinations WHERE app_guid = ANY(${appGuids})))`,
    )
    const apps = [...new Set(routes.flatMap(({ destinations }) => destinations.map(({ appGuid }) => appGuid)))]
    const instances = apps.length === 0 ? [] : await listInstances(pool, sql`routable AND app_guid = ANY(${apps})`)
    const found = new Set(routes.map(({ guid }) => guid))
    return feed.prepareChange(
      this.#epoch,
      this.#entriesOf(routes, instances),
      routeGuids.filter((guid) => !found.has(guid)),
    )
  }

  #entriesOf(routes: readonly RouteRow[], instances: Parameters<typeof buildRouteEntries>[1]) {
    return buildRouteEntries(routes, instances, (cellId) => this.#zones?.get(cellId))
  }

  async #publish(pending: PendingPublication): Promise<void> {
    const { pool, lease, clock, feed, sessions } = this.deps
    // Who has just taken the changes away leads; only what has to be on record first is worth another transaction.
    if (pending.withdrawn.length > 0)
      await guarded(pool, lease, (on) =>
        recordWithdrawals(on, pending.withdrawn, { epoch: lease.token, revision: pending.revision, now: clock.now() }),
      )
    feed.publish(this.#epoch, pending)
    this.publishedAt ??= clock.now()
    for (const { cellId } of pending.withdrawn) sessions.wake(cellId)
  }
}
