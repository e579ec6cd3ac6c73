import { randomUUID } from 'node:crypto'
import { execute, type Queryable, sql } from '@bloomery/database/sql'
import type { BuildFailure, ClaimedBuild } from './build-record.js'

/** `audit.app.droplet.create`, unless an earlier droplet serves, and `audit.app.build.staged`, by whoever asked for the build. */
export async function recordStaged(
  on: Queryable,
  build: ClaimedBuild,
  dropletGuid: string,
  { reused = false } = {},
): Promise<void> {
  const about = { package_guid: build.packageGuid }
  if (!reused) await record(on, build, 'audit.app.droplet.create', { droplet_guid: dropletGuid, ...about })
  await record(on, build, 'audit.app.build.staged', { build_guid: build.guid, ...about })
}

export const recordFailed = (on: Queryable, build: ClaimedBuild, failure: BuildFailure): Promise<void> =>
  record(on, build, 'audit.app.build.failed', {
    build_guid: build.guid,
    package_guid: build.packageGuid,
    error_id: failure.class,
    error_message: failure.sentence,
  })

async function record(on: Queryable, build: ClaimedBuild, type: string, data: unknown): Promise<void> {
  await execute(
    on,
    sql`INSERT INTO audit_events (guid, type, actor_guid, actor_type, actor_name, target_guid, target_type, target_name, data,
          space_guid, organization_guid, created_at)
        SELECT ${randomUUID()}, ${type}, coalesce(b.created_by_guid, b.guid), CASE WHEN b.created_by_guid IS NULL THEN 'build' ELSE 'user' END,
          coalesce(b.created_by_name, ''), a.guid, 'app', a.name, ${JSON.stringify(data)}::jsonb, a.space_guid, s.organization_guid,
          clock_timestamp()
        FROM builds b JOIN apps a ON a.guid = b.app_guid JOIN spaces s ON s.guid = a.space_guid WHERE b.guid = ${build.guid}`,
  )
}
