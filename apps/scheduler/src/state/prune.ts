import { execute, sql, type Queryable } from '@bloomery/database/sql'
import { pruneDecisions } from './decision-records.js'

const KEPT_SPEC_HOURS = 1
const KEPT_CELL_DAYS = 1

/** Forgets decisions, run specs and cells that nothing refers to any more. */
export async function pruneState(on: Queryable): Promise<void> {
  await pruneDecisions(on)
  await pruneRunSpecs(on)
  await pruneCells(on)
}

/**
 * Specs older than their process's current one, and those of processes that are gone, once no instance of them is left. Newer
 * ones wait for the end of a deployment.
 */
export async function pruneRunSpecs(on: Queryable): Promise<void> {
  await execute(
    on,
    sql`DELETE FROM run_specs s WHERE s.created_at < now() - ${KEPT_SPEC_HOURS} * interval '1 hour'
          AND NOT EXISTS (SELECT 1 FROM actual_instances i WHERE i.spec_guid = s.guid)
          AND NOT EXISTS (SELECT 1 FROM processes p LEFT JOIN run_specs c ON c.guid = p.current_spec_guid
            WHERE p.guid = s.process_guid AND (c.version IS NULL OR s.version >= c.version))`,
  )
}

/** A cell that has been silent for a day and holds nothing; should it come back, it registers anew. */
export async function pruneCells(on: Queryable): Promise<void> {
  await execute(
    on,
    sql`DELETE FROM cells c WHERE c.last_seen_at < now() - ${KEPT_CELL_DAYS} * interval '1 day'
          AND NOT EXISTS (SELECT 1 FROM actual_instances i WHERE i.cell_id = c.id)`,
  )
}
