import { randomUUID } from 'node:crypto'
import { execute, sql, type Queryable } from '@bloomery/database/sql'

/** A decision and its reason, about a process or a deployment. */
export interface Decision {
  readonly kind: 'placement' | 'restart' | 'stop' | 'deployment'
  readonly subjectType: 'process' | 'deployment'
  readonly subjectGuid: string
  readonly appGuid: string
  readonly summary: string
  readonly detail: Readonly<Record<string, unknown>>
}

export async function recordDecisions(on: Queryable, decisions: readonly Decision[]): Promise<void> {
  if (decisions.length === 0) return
  const list = decisions.map((decision) => ({ guid: randomUUID(), ...decision }))
  await execute(
    on,
    sql`INSERT INTO decision_records (guid, kind, subject_type, subject_guid, app_guid, summary, detail, created_at)
        SELECT x.guid, x.kind, x."subjectType", x."subjectGuid", x."appGuid", x.summary, x.detail, now()
        FROM jsonb_to_recordset(${JSON.stringify(list)}::jsonb) AS x(guid text, kind text, "subjectType" text, "subjectGuid" text,
          "appGuid" text, summary text, detail jsonb)`,
  )
}

const KEPT_DAYS = 7
const KEPT_RECORDS = 100_000

/** Forgets what nobody will ask about any more: a week, and a hundred thousand records at most. */
export async function pruneDecisions(on: Queryable): Promise<void> {
  await execute(
    on,
    sql`DELETE FROM decision_records WHERE created_at < now() - ${KEPT_DAYS} * interval '1 day' OR created_at <
          (SELECT created_at FROM decision_records ORDER BY created_at DESC OFFSET ${KEPT_RECORDS} LIMIT 1)`,
  )
}
