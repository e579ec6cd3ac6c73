import { execute, sql, type Queryable } from '@bloomery/database'
import { KEPT } from './kept.js'

/** Rows that are only history, and more of it than is kept. */
export async function dropOldRows(on: Queryable): Promise<void> {
  await execute(on, sql`DELETE FROM audit_events WHERE created_at < now() - ${KEPT.auditEventDays} * interval '1 day'`)
  await execute(
    on,
    sql`DELETE FROM jobs WHERE state IN ('COMPLETE', 'FAILED') AND updated_at < now() - ${KEPT.jobDays} * interval '1 day'`,
  )
  await execute(on, sql`DELETE FROM matched_files WHERE used_at < now() - ${KEPT.pooledFileDays} * interval '1 day'`)
  await execute(
    on,
    sql`DELETE FROM builds USING (SELECT guid, row_number() OVER (PARTITION BY app_guid ORDER BY created_at DESC, guid) AS place
          FROM builds WHERE state <> 'STAGING') old
        WHERE builds.guid = old.guid AND old.place > ${KEPT.builds}`,
  )
  await execute(
    on,
    sql`DELETE FROM deployments USING (SELECT guid, row_number() OVER (PARTITION BY app_guid ORDER BY created_at DESC, guid) AS place
          FROM deployments WHERE status_value = 'FINALIZED') old
        WHERE deployments.guid = old.guid AND old.place > ${KEPT.deployments}`,
  )
  // What a droplet without bits was made of helps nobody.
  await execute(
    on,
    sql`DELETE FROM droplet_components USING droplets d WHERE d.guid = droplet_components.droplet_guid AND d.state = 'EXPIRED'`,
  )
}
