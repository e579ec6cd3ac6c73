import type { InstanceEndpoint } from '@bloomery/contracts'
import { execute, rows, sql, type PoolClient, type SqlQuery } from '@bloomery/database/sql'
import type { InstanceKey, InstanceState } from '@bloomery/domain'
import type { DesiredRow, InstanceRow } from './rows.js'

/** Names a row and what it must still look like for a write to happen. */
export type Expected = InstanceKey & Pick<InstanceRow, 'state' | 'instanceGuid'>

/** Writes to actual_instances within one guarded transaction. Rows that look different by now are left alone. */
export class InstanceWrites {
  constructor(
    readonly on: PoolClient,
    readonly leaseToken: bigint,
    readonly now: Date,
  ) {}

  async remove(expected: readonly Expected[]): Promise<void> {
    if (expected.length === 0) return
    await execute(this.on, sql`DELETE FROM actual_instances a USING ${these(expected)} WHERE ${asExpected}`)
  }

  async changePresence(expected: readonly Expected[], to: InstanceKey['presence']): Promise<void> {
    if (expected.length === 0) return
    await execute(
      this.on,
      sql`UPDATE actual_instances a SET presence = ${to}, ${this.#stamp} FROM ${these(expected)} WHERE ${asExpected}
          AND NOT EXISTS (SELECT 1 FROM actual_instances b WHERE b.process_guid = a.process_guid
            AND b.spec_version = a.spec_version AND b.index = a.index AND b.presence = ${to})`,
    )
  }

  async create(
    created: readonly { readonly process: DesiredRow; readonly index: number; readonly detail: string }[],
  ): Promise<void> {
    if (created.length === 0) return
    const list = created.map(({ process, index, detail }) => ({ ...process, index, detail }))
    await execute(
      this.on,
      sql`INSERT INTO actual_instances (process_guid, spec_version, index, app_guid, process_type, spec_guid, state, state_since,
            detail, memory_mb, disk_mb, lease_token)
          SELECT x.guid, x."specVersion", x.index, x."appGuid", x.type, x."specGuid", 'unclaimed', ${this.now}, x.detail,
            x."memoryMb", x."diskMb", ${this.leaseToken}
          FROM jsonb_to_recordset(${JSON.stringify(list)}::jsonb) AS x(guid text, "specVersion" int, index int, "appGuid" text,
            type text, "specGuid" text, detail text, "memoryMb" int, "diskMb" int)
          ON CONFLICT DO NOTHING`,
    )
  }

  /** Back to waiting for a place; the crash count stays. */
  async unclaim(expected: readonly (Expected & { readonly detail: string })[]): Promise<void> {
    if (expected.length === 0) return
    await execute(
      this.on,
      sql`UPDATE actual_instances a SET state = 'unclaimed', ${this.#vacate}, detail = x.detail, placement_error = NULL
          FROM ${these(expected)} WHERE ${asExpected}`,
    )
  }

  async beginStop(
    expected: readonly (Expected & { readonly reason: string; readonly phase: 'unroute' | 'term' })[],
  ): Promise<void> {
    if (expected.length === 0) return
    await execute(
      this.on,
      sql`UPDATE actual_instances a SET state = 'stopping', state_since = ${this.now}, stop_phase = x.phase, stop_reason = x.reason,
            stop_since = ${this.now}, unrouted_at_revision = NULL, ${this.#stamp}
          FROM ${these(expected)} WHERE ${asExpected}`,
    )
  }

  /** Gives waiting rows their cell and a new instance guid. Returns those that were still waiting. */
  async claim(
    claims: readonly (InstanceKey & { readonly cellId: string; readonly instanceGuid: string; readonly detail: string })[],
  ): Promise<{ processGuid: string; instanceGuid: string }[]> {
    if (claims.length === 0) return []
    return rows(
      this.on,
      sql`UPDATE actual_instances a SET state = 'claimed', state_since = ${this.now}, cell_id = x."cellId",
            instance_guid = x."instanceGuid", detail = x.detail, placement_error = NULL, ${this.#stamp}
          FROM jsonb_to_recordset(${JSON.stringify(claims)}::jsonb) AS x("processGuid" text, "specVersion" int, index int,
            presence text, "cellId" text, "instanceGuid" text, detail text)
          WHERE ${sameKey} AND a.state = 'unclaimed'
          RETURNING a.process_guid AS "processGuid", a.instance_guid AS "instanceGuid"`,
    )
  }

  async notePlacementErrors(failures: readonly (InstanceKey & { readonly error: string })[]): Promise<void> {
    if (failures.length === 0) return
    await execute(
      this.on,
      sql`UPDATE actual_instances a SET placement_error = x.error, ${this.#stamp}
          FROM jsonb_to_recordset(${JSON.stringify(failures)}::jsonb) AS x("processGuid" text, "specVersion" int, index int,
            presence text, error text)
          WHERE ${sameKey} AND a.state = 'unclaimed'`,
    )
  }

  async running(row: Expected, seen: { readonly routable: boolean; readonly endpoint: InstanceEndpoint | null }): Promise<void> {
    await execute(
      this.on,
      sql`UPDATE actual_instances a SET state = 'running',
            state_since = CASE WHEN a.state = 'running' THEN a.state_since ELSE ${this.now} END,
            routable = ${seen.routable}, endpoint = ${asJson(seen.endpoint)}, ${this.#stamp}
          FROM ${these([row])} WHERE ${asExpected}`,
    )
  }

  async crashed(
    row: Expected,
    crash: { readonly state: InstanceState; readonly crashCount: number; readonly crashReason: string; readonly detail: string },
  ): Promise<void> {
    await execute(
      this.on,
      sql`UPDATE actual_instances a SET state = ${crash.state}, ${this.#vacate}, crash_count = ${crash.crashCount},
            crash_reason = ${crash.crashReason}, crashed_at = ${this.now}, detail = ${crash.detail}, placement_error = NULL
          FROM ${these([row])} WHERE ${asExpected}`,
    )
  }

  /** Waits for its next try with the platform's reason, which users see; its crash count stays. */
  async startFailed(row: Expected, reason: string): Promise<void> {
    await execute(
      this.on,
      sql`UPDATE actual_instances a SET state = 'unclaimed', ${this.#vacate}, crashed_at = ${this.now},
            placement_error = ${reason}, detail = ${reason}
          FROM ${these([row])} WHERE ${asExpected}`,
    )
  }

  /** The row now stands for what the cell found or started by itself. */
  async occupy(
    row: Expected,
    by: {
      readonly cellId: string
      readonly instanceGuid: string
      readonly state: InstanceState
      readonly routable: boolean
      readonly endpoint: InstanceEndpoint | null
      readonly crashCount: number
      readonly detail: string
    },
  ): Promise<void> {
    await execute(
      this.on,
      sql`UPDATE actual_instances a SET state = ${by.state}, state_since = ${this.now}, cell_id = ${by.cellId},
            instance_guid = ${by.instanceGuid}, routable = ${by.routable}, endpoint = ${asJson(by.endpoint)},
            crash_count = ${by.crashCount}, detail = ${by.detail}, placement_error = NULL, ${this.#stamp}
          FROM ${these([row])} WHERE ${asExpected}`,
    )
  }

  /** A row for what runs without one. */
  async insertFound(
    found: InstanceKey & {
      readonly appGuid: string
      readonly processType: string
      readonly specGuid: string
      readonly instanceGuid: string
      readonly cellId: string
      readonly state: InstanceState
      readonly routable: boolean
      readonly endpoint: InstanceEndpoint | null
      readonly memoryMb: number
      readonly diskMb: number
      readonly detail: string
    },
  ): Promise<void> {
    await execute(
      this.on,
      sql`INSERT INTO actual_instances (process_guid, spec_version, index, presence, app_guid, process_type, spec_guid, instance_guid,
            cell_id, state, state_since, detail, routable, endpoint, memory_mb, disk_mb, lease_token)
          VALUES (${found.processGuid}, ${found.specVersion}, ${found.index}, ${found.presence}, ${found.appGuid}, ${found.processType},
            ${found.specGuid}, ${found.instanceGuid}, ${found.cellId}, ${found.state}, ${this.now}, ${found.detail}, ${found.routable},
            ${asJson(found.endpoint)}, ${found.memoryMb}, ${found.diskMb}, ${this.leaseToken})
          ON CONFLICT DO NOTHING`,
    )
  }

  /** The feed's revision that no longer holds these stopping instances. */
  async noteUnrouted(expected: readonly Expected[], revision: bigint): Promise<void> {
    if (expected.length === 0) return
    await execute(
      this.on,
      sql`UPDATE actual_instances a SET unrouted_at_revision = ${revision}, ${this.#stamp} FROM ${these(expected)}
          WHERE ${asExpected} AND a.stop_phase = 'unroute'`,
    )
  }

  async beginTermination(expected: readonly Expected[]): Promise<void> {
    if (expected.length === 0) return
    await execute(
      this.on,
      sql`UPDATE actual_instances a SET stop_phase = 'term', ${this.#stamp} FROM ${these(expected)}
          WHERE ${asExpected} AND a.stop_phase = 'unroute'`,
    )
  }

  get #stamp(): SqlQuery {
    return sql`lease_token = ${this.leaseToken}, updated_at = now()`
  }

  get #vacate(): SqlQuery {
    return sql`state_since = ${this.now}, cell_id = NULL, instance_guid = NULL, routable = false, endpoint = NULL, stop_phase = NULL,
      stop_reason = NULL, stop_since = NULL, unrouted_at_revision = NULL, ${this.#stamp}`
  }
}

const asJson = (value: unknown): string | null => (value === null ? null : JSON.stringify(value))

const sameKey = sql`a.process_guid = x."processGuid" AND a.spec_version = x."specVersion" AND a.index = x.index AND a.presence = x.presence`
const asExpected = sql`${sameKey} AND a.state = x.state AND a.instance_guid IS NOT DISTINCT FROM x."instanceGuid"`

const these = (expected: readonly Expected[]): SqlQuery => {
  const list = expected.map((row) => ({
    processGuid: row.processGuid,
    specVersion: row.specVersion,
    index: row.index,
    presence: row.presence,
    state: row.state,
    instanceGuid: row.instanceGuid,
    ...('detail' in row ? { detail: row.detail } : {}),
    ...('reason' in row ? { reason: row.reason } : {}),
    ...('phase' in row ? { phase: row.phase } : {}),
  }))
  return sql`jsonb_to_recordset(${JSON.stringify(list)}::jsonb) AS x("processGuid" text, "specVersion" int, index int, presence text,
    state text, "instanceGuid" text, detail text, reason text, phase text)`
}
