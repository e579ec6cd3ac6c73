import { randomUUID } from 'node:crypto'
import { execute, sql, type Queryable } from '@bloomery/database/sql'

/** A crash as users read it. */
export interface Crash {
  readonly appGuid: string
  readonly processGuid: string
  readonly processType: string
  readonly processVersion: string
  readonly instanceGuid: string
  readonly index: number
  readonly cellId: string
  readonly exitStatus: number | undefined
  readonly exitDescription: string
  readonly crashCount: number
  readonly at: Date
}

const olderPayloadOf = (crash: Crash) => ({
  instance: crash.instanceGuid,
  index: crash.index,
  cell_id: crash.cellId,
  reason: 'CRASHED',
  ...(crash.exitStatus === undefined ? {} : { exit_status: crash.exitStatus }),
  exit_description: crash.exitDescription,
})
const payloadOf = (crash: Crash) => ({
  ...olderPayloadOf(crash),
  crash_count: crash.crashCount,
  crash_timestamp: crash.at.getTime() * 1_000_000,
  version: crash.processVersion,
})

/** Writes `audit.app.process.crash` and the older `app.crash`. An app that is gone has no events. */
export async function recordCrash(on: Queryable, crash: Crash): Promise<void> {
  await execute(
    on,
    sql`INSERT INTO audit_events (guid, type, actor_guid, actor_type, actor_name, target_guid, target_type, target_name, data,
          space_guid, organization_guid, created_at)
        SELECT e.guid, e.type, e.actor_guid, e.actor_type, coalesce(e.actor_name, a.name), a.guid, 'app', a.name, e.data, a.space_guid,
          s.organization_guid, ${crash.at}
        FROM apps a JOIN spaces s ON s.guid = a.space_guid, (VALUES
          (${randomUUID()}, 'audit.app.process.crash', ${crash.processGuid}, 'process', ${crash.processType}, ${JSON.stringify(payloadOf(crash))}::jsonb),
          (${randomUUID()}, 'app.crash', ${crash.appGuid}, 'app', NULL, ${JSON.stringify(olderPayloadOf(crash))}::jsonb)
        ) AS e(guid, type, actor_guid, actor_type, actor_name, data)
        WHERE a.guid = ${crash.appGuid}`,
  )
}

/** The lines that the API writes into the app's log on a crash, in Cloud Foundry's form. */
export function crashLogLines(crash: Crash): string[] {
  const payload = Object.entries(payloadOf(crash))
    .map(([key, value]) => `"${key}"=>${JSON.stringify(value)}`)
    .join(', ')
  return [
    `Process has crashed with type: "${crash.processType}"`,
    `App instance exited with guid ${crash.appGuid} payload: {${payload}}`,
  ]
}
