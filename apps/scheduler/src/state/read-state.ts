import { rows, sql, transaction, type Pool, type Queryable, type SqlQuery } from '@bloomery/database/sql'
import type { CellRow, DesiredRow, InstanceRow, StagingReservation } from './rows.js'

/** All that a pass decides upon, read at one moment. */
export interface Snapshot {
  readonly databaseNow: Date
  readonly desired: readonly DesiredRow[]
  readonly actual: readonly InstanceRow[]
  readonly cells: readonly CellRow[]
  readonly staging: readonly StagingReservation[]
}

const INSTANCE_COLUMNS = sql`process_guid AS "processGuid", spec_version AS "specVersion", index, presence, app_guid AS "appGuid",
  process_type AS "processType", spec_guid AS "specGuid", instance_guid AS "instanceGuid", cell_id AS "cellId", state,
  state_since AS "stateSince", placement_error AS "placementError", crash_count AS "crashCount", crash_reason AS "crashReason",
  crashed_at AS "crashedAt", routable, endpoint, stop_phase AS "stopPhase", stop_reason AS "stopReason", stop_since AS "stopSince",
  unrouted_at_revision AS "unroutedAt", memory_mb AS "memoryMb", disk_mb AS "diskMb", lease_token AS "leaseToken"`

export const listInstances = (on: Queryable, where: SqlQuery): Promise<InstanceRow[]> =>
  rows<InstanceRow>(on, sql`SELECT ${INSTANCE_COLUMNS} FROM actual_instances WHERE ${where}`)

/** What shall run of which processes; restricted by a condition on p (processes), a (apps) or s (run_specs). */
export const listDesired = (on: Queryable, where: SqlQuery): Promise<DesiredRow[]> =>
  rows<DesiredRow>(
    on,
    sql`SELECT p.guid, p.app_guid AS "appGuid", p.type, s.guid AS "specGuid", s.version AS "specVersion", p.instances,
          (s.spec->>'memoryMb')::int AS "memoryMb", (s.spec->>'diskMb')::int AS "diskMb", s.spec->>'stack' AS stack
        FROM processes p JOIN apps a ON a.guid = p.app_guid JOIN run_specs s ON s.guid = p.current_spec_guid
        WHERE a.state = 'STARTED' AND ${where}`,
  )

/** Reads the world at one moment. */
export const readSnapshot = (pool: Pool): Promise<Snapshot> =>
  transaction(pool, async (on) => {
    await on.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY')
    const [clock] = await rows<{ now: Date }>(on, sql`SELECT clock_timestamp() AS now`)
    const desired = await listDesired(on, sql`true`)
    const actual = await listInstances(on, sql`true`)
    const cells = await rows<CellRow>(
      on,
      sql`SELECT id, epoch, zone, stacks, memory_mb AS "memoryMb", disk_mb AS "diskMb", max_instances AS "maxInstances",
            state = 'draining' AS draining, last_seen_at AS "lastSeenAt" FROM cells`,
    )
    const staging = await rows<StagingReservation>(
      on,
      sql`SELECT claimed_by AS "claimedBy", staging_memory_mb AS "memoryMb", staging_disk_mb AS "diskMb" FROM builds
          WHERE state = 'STAGING' AND claimed_by IS NOT NULL AND claim_expires_at > now()`,
    )
    return { databaseNow: clock?.now ?? new Date(), desired, actual, cells, staging }
  })

/**
 * A cheap mark of everything that a full pass reads and others write: it changes with every committed change. (Each version of a
 * row carries its transaction's number, so counts and sums of those tell inserts, updates and deletes apart from silence.)
 */
export async function readFingerprint(on: Queryable): Promise<string> {
  const tables = ['processes', 'apps', 'actual_instances', 'deployments', 'builds']
  const marks = tables.map((table) => `(SELECT count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM ${table})`)
  const result = await on.query(`SELECT concat_ws(' ', ${marks.join(', ')}) AS mark`)
  const [row] = result.rows as { mark: string }[]
  return row?.mark ?? ''
}
