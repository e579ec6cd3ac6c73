import { execute, rows, sql, type Queryable } from '@bloomery/database/sql'
import type { Clock } from '../clock.js'

interface RouterState {
  readonly feedEpoch: bigint
  readonly appliedRevision: bigint
  readonly lastSeenAt: Date
  /** Withdrawn instances that still answer requests through it; not on record, a new leader begins without. */
  readonly answering?: ReadonlySet<string>
}

const LIVE_MS = 15_000
const REMEMBERED_MS = 10 * 60_000

/** Which revision each router has applied, and which routers are there to be waited for. */
export class RouterAcks {
  readonly #routers = new Map<string, RouterState>()
  readonly #connected = new Map<string, number>()
  constructor(readonly clock: Clock) {}

  /**
   * At the begin of a term: what an earlier leader was told. Routers of which it knew count as seen now: without a leader to speak
   * to they have been silent, and routed all the same.
   */
  async restore(on: Queryable): Promise<void> {
    const known = await rows<RouterState & { id: string }>(
      on,
      sql`SELECT id, feed_epoch AS "feedEpoch", applied_revision AS "appliedRevision", last_seen_at AS "lastSeenAt" FROM routers`,
    )
    const lastSeenAt = this.clock.now()
    for (const { id, ...state } of known) if (!this.#routers.has(id)) this.#routers.set(id, { ...state, lastSeenAt })
  }

  connected(id: string): void {
    this.#connected.set(id, (this.#connected.get(id) ?? 0) + 1)
    const known = this.#routers.get(id)
    this.#routers.set(id, { feedEpoch: 0n, appliedRevision: 0n, ...known, lastSeenAt: this.clock.now() })
  }

  disconnected(id: string): void {
    const left = (this.#connected.get(id) ?? 1) - 1
    if (left > 0) this.#connected.set(id, left)
    else this.#connected.delete(id)
  }

  acknowledge(id: string, feedEpoch: bigint, appliedRevision: bigint, answering: readonly string[] = []): void {
    this.#routers.set(id, { feedEpoch, appliedRevision, lastSeenAt: this.clock.now(), answering: new Set(answering) })
  }

  /** Routers that serve now, as far as can be told. */
  live(): string[] {
    const since = this.clock.now().getTime() - LIVE_MS
    return [...this.#routers]
      .filter(([id, { lastSeenAt }]) => this.#connected.has(id) || lastSeenAt.getTime() >= since)
      .map(([id]) => id)
  }

  /** Whether every live router has applied the revision. */
  isAppliedByLive(epoch: bigint, revision: bigint): boolean {
    return this.live().every((id) => this.#hasApplied(id, epoch, revision))
  }

  /** Whether requests to a withdrawn instance are still under way through a live router. */
  isAnswering(instanceGuid: string): boolean {
    return this.live().some((id) => this.#routers.get(id)?.answering?.has(instanceGuid))
  }

  /** Whether every router seen in the last ten minutes has applied it: the others' tables count as gone. */
  isAppliedByAll(epoch: bigint, revision: bigint): boolean {
    const since = this.clock.now().getTime() - REMEMBERED_MS
    return [...this.#routers]
      .filter(([id, { lastSeenAt }]) => this.#connected.has(id) || lastSeenAt.getTime() >= since)
      .every(([id]) => this.#hasApplied(id, epoch, revision))
  }

  /** Writes down what routers have said, and who is connected. */
  async store(on: Queryable): Promise<void> {
    const now = this.clock.now()
    for (const id of this.#connected.keys()) {
      const known = this.#routers.get(id)
      if (known) this.#routers.set(id, { ...known, lastSeenAt: now })
    }
    const states = [...this.#routers].map(([id, state]) => ({
      id,
      epoch: String(state.feedEpoch),
      revision: String(state.appliedRevision),
      seen: state.lastSeenAt,
    }))
    if (states.length === 0) return
    await execute(
      on,
      sql`INSERT INTO routers (id, feed_epoch, applied_revision, last_seen_at)
          SELECT x.id, x.epoch, x.revision, x.seen
          FROM jsonb_to_recordset(${JSON.stringify(states)}::jsonb) AS x(id text, epoch bigint, revision bigint, seen timestamptz)
          ON CONFLICT (id) DO UPDATE SET feed_epoch = EXCLUDED.feed_epoch, applied_revision = EXCLUDED.applied_revision,
            last_seen_at = EXCLUDED.last_seen_at
          WHERE routers.feed_epoch <> EXCLUDED.feed_epoch OR routers.applied_revision <> EXCLUDED.applied_revision
            OR routers.last_seen_at < EXCLUDED.last_seen_at`,
    )
    await execute(on, sql`DELETE FROM routers WHERE last_seen_at < ${new Date(now.getTime() - REMEMBERED_MS)}`)
    for (const [id, { lastSeenAt }] of this.#routers)
      if (!this.#connected.has(id) && now.getTime() - lastSeenAt.getTime() > REMEMBERED_MS) this.#routers.delete(id)
  }

  #hasApplied(id: string, epoch: bigint, revision: bigint): boolean {
    const state = this.#routers.get(id)
    if (!state) return true
    return state.feedEpoch > epoch || (state.feedEpoch === epoch && state.appliedRevision >= revision)
  }
}
