import { sql, type Lease, type Pool } from '@bloomery/database/sql'
import type { Logger } from '@bloomery/telemetry'
import type { CellSessions } from '../cells/cell-sessions.js'
import type { Clock } from '../clock.js'
import { advanceDeployments } from '../deployments/advance-deployments.js'
import { guarded } from '../leadership/guarded.js'
import type { Term } from '../leadership/leadership.js'
import { RoutePublisher } from '../routes/publish-routes.js'
import type { RouteFeed } from '../routes/route-feed.js'
import type { RouterAcks } from '../routes/router-acks.js'
import { findReleased, releaseAddresses } from '../routes/withdrawals.js'
import { pruneState } from '../state/prune.js'
import { listInstances, readFingerprint, readSnapshot } from '../state/read-state.js'
import { InstanceWrites } from '../state/write-instances.js'
import { converge } from './converge.js'
import { Effects } from './effects.js'
import { runLoop, type Loop } from './run-loop.js'

export interface LeaderDeps {
  readonly pool: Pool
  readonly clock: Clock
  readonly log: Logger
  readonly feed: RouteFeed
  readonly acks: RouterAcks
  readonly sessions: CellSessions
  /** One writer at a time: passes and reports. */
  readonly serial: <T>(work: () => Promise<T>) => Promise<T>
  readonly sendEffects: (effects: Effects) => void
  readonly maxStarting: number
  readonly pace: Pace
}

/** How often the leader looks by itself, without any hint. */
export interface Pace {
  /** Whether anything has changed that it decides upon. */
  readonly lookMs: number
  /** At everything, changed or not: time alone may have made something due. */
  readonly fullPassMs: number
  /** What routers have acknowledged is written down, and their feed kept alive. */
  readonly routersMs: number
}
export const PACE: Pace = { lookMs: 1_000, fullPassMs: 4_000, routersMs: 5_000 }

const PRUNE_MS = 60 * 60_000
/** Silence of cells counts from here on: those that are there have reported by then. */
const GRACE_MS = 15_000
/** Agents report every 5 s. */
const FIRST_REPORTS_MS = 7_000
/** Instances stop this long after their withdrawal, or after the new leader's first word of it, whatever routers say. */
const UNROUTE_MS = 5_000

/** The work of a leading scheduler: passes over all of desired and actual state, for one term. */
export class Leader {
  readonly #loop: Loop
  /** Routes don't wait for a pass. */
  readonly #routesLoop: Loop
  readonly #routes: RoutePublisher
  #fingerprint: string | undefined
  #lastFullAt = -Infinity
  #lastStoreAt = -Infinity
  #lastPruneAt = performance.now()
  #settledSince: Date
  #hold: string | undefined
  readonly #ledSince = performance.now()

  constructor(
    readonly term: Term,
    readonly deps: LeaderDeps,
  ) {
    this.#settledSince = deps.clock.now()
    this.#routes = new RoutePublisher({ ...deps, lease: term.lease })
    this.#routesLoop = runLoop(() => this.#routes.publish(), {
      everyMs: deps.pace.lookMs,
      debounceMs: 5,
      signal: term.signal,
      log: deps.log,
    })
    this.#loop = runLoop(() => deps.serial(() => this.#look()), {
      everyMs: deps.pace.lookMs,
      debounceMs: 5,
      signal: term.signal,
      log: deps.log,
    })
  }

  get lease(): Lease {
    return this.term.lease
  }

  /** Look at everything again soon. */
  nudge(): void {
    this.#fingerprint = undefined
    this.#routesLoop.nudge()
    this.#loop.nudge()
  }

  /** A router has acknowledged: stops may go on. */
  nudgeStops(): void {
    this.#loop.nudge()
  }

  get done(): Promise<void> {
    return Promise.all([this.#loop.done, this.#routesLoop.done]).then(() => undefined)
  }

  async #look(): Promise<void> {
    if (this.term.signal.aborted) return
    try {
      await this.#maintain()
      await this.#routes.publish()
      await this.#advanceStops()
      const fingerprint = await readFingerprint(this.deps.pool)
      const due = performance.now() - this.#lastFullAt >= this.deps.pace.fullPassMs
      if (!due && fingerprint === this.#fingerprint) return
      await this.#fullPass()
      this.#fingerprint = fingerprint
      this.#lastFullAt = performance.now()
    } catch (error) {
      // While the database was away cells could not be heard.
      this.#settledSince = this.deps.clock.now()
      throw error
    }
  }

  /** Read, decide, act; twice where deployments or placement changed what is read. */
  async #fullPass(): Promise<void> {
    const { pool, clock, sessions } = this.deps
    const effects = new Effects()
    let snapshot = await readSnapshot(pool)
    clock.sync(snapshot.databaseNow)
    for (const { id, epoch } of snapshot.cells) sessions.resume(id, epoch)
    this.#routes.useCells(snapshot.cells)
    await this.#routes.publish()
    const deployed = await advanceDeployments({ pool, clock, lease: this.lease, effects }, snapshot)
    if (deployed) snapshot = await readSnapshot(pool)
    const now = clock.now()
    const { changed, hold } = await converge(
      {
        pool,
        lease: this.lease,
        sessions,
        effects,
        maxStarting: this.deps.maxStarting,
        awaitReports: performance.now() - this.#ledSince < FIRST_REPORTS_MS,
      },
      snapshot,
      now,
      now.getTime() - this.#settledSince.getTime() > GRACE_MS,
    )
    this.#noteHold(snapshot.cells.length > 0 ? hold : undefined)
    if (changed) {
      await this.#routes.publish()
      await this.#advanceStops()
      sessions.wakeAll()
    }
    this.deps.sendEffects(effects)
  }

  /** Stopping instances: first the feed without them, then the routers' word for it, their open requests answered, then the cell's turn. */
  async #advanceStops(): Promise<void> {
    const { pool, clock, feed, acks, sessions } = this.deps
    const unrouting = await listInstances(pool, sql`state = 'stopping' AND stop_phase = 'unroute'`)
    if (unrouting.length === 0 || feed.epoch !== String(this.lease.token)) return
    const now = clock.now()
    const publishedAt = this.#routes.publishedAt ?? now
    const withdrawn = unrouting.filter(({ instanceGuid }) => instanceGuid === null || !feed.holds(instanceGuid))
    const unmarked = withdrawn.filter(({ unroutedAt }) => unroutedAt === null)
    const revision = BigInt(feed.revision)
    const released = withdrawn.filter(
      (row) =>
        now.getTime() - Math.max((row.stopSince ?? now).getTime(), publishedAt.getTime()) >= UNROUTE_MS ||
        (acks.isAppliedByLive(row.unroutedAt === null ? this.lease.token : row.leaseToken, row.unroutedAt ?? revision) &&
          !(row.instanceGuid !== null && acks.isAnswering(row.instanceGuid))),
    )
    if (unmarked.length === 0 && released.length === 0) return
    await guarded(pool, this.lease, async (on) => {
      const write = new InstanceWrites(on, this.lease.token, now)
      await write.noteUnrouted(unmarked, revision)
      await write.beginTermination(released)
    })
    for (const { cellId } of released) if (cellId !== null) sessions.wake(cellId)
  }

  async #maintain(): Promise<void> {
    const { pool, acks, feed, clock, sessions, log, pace } = this.deps
    const now = performance.now()
    if (now - this.#lastStoreAt >= pace.routersMs) {
      this.#lastStoreAt = now
      feed.heartbeat()
      await guarded(pool, this.lease, (on) => acks.store(on))
    }
    const released = await findReleased(pool, acks, clock.now())
    if (released.length > 0) await guarded(pool, this.lease, (on) => releaseAddresses(on, released))
    for (const cellId of new Set(released.map(({ cellId }) => cellId))) sessions.wake(cellId)
    if (now - this.#lastPruneAt >= PRUNE_MS) {
      this.#lastPruneAt = now
      await guarded(pool, this.lease, pruneState)
      log.debug('decision records, run specs and cells pruned')
    }
  }

  #noteHold(hold: string | undefined): void {
    if (hold !== this.#hold && hold !== undefined)
      this.deps.log.warn({ reason: hold }, 'nothing of missing cells is replaced for now')
    this.#hold = hold
  }
}
