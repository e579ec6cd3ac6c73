import { execute, sql, type Process } from '@bloomery/database'
import type { Context } from '../../http/context.js'
import { notFound } from '../../http/errors.js'
import type { JobActor } from '../../jobs/jobs.js'
import { recordAppEvent } from '../apps/app-events.js'
import type { AppInSpace } from '../apps/find-app.js'

/** Has one instance stopped and started anew; its index stays in the list meanwhile. */
export async function restartInstance(
  context: Context,
  actor: JobActor,
  app: AppInSpace,
  process: Process,
  index: number,
): Promise<void> {
  if (!Number.isInteger(index) || index < 0 || index >= process.instances) throw notFound('Instance')
  // What is being stopped already, or has no container yet, needs no further word. A crashed one is due at once.
  await execute(
    context.pool,
    sql`UPDATE actual_instances SET state = 'stopping', stop_reason = 'restart', stop_phase = NULL, stop_since = clock_timestamp(),
          state_since = clock_timestamp(), routable = false, updated_at = now()
        WHERE process_guid = ${process.guid} AND index = ${index} AND presence = 'ordinary' AND state IN ('running', 'claimed')`,
  )
  await execute(
    context.pool,
    sql`UPDATE actual_instances SET state = 'unclaimed', cell_id = NULL, crash_count = 0, crash_reason = NULL, state_since = clock_timestamp(), updated_at = now()
        WHERE process_guid = ${process.guid} AND index = ${index} AND presence = 'ordinary' AND state = 'crashed'`,
  )
  await context.db.$transaction((tx) =>
    recordAppEvent(tx, actor, app, 'audit.app.process.terminate_instance', {
      process_guid: process.guid,
      process_type: process.type,
      process_index: index,
    }),
  )
  context.nudges.send({ topic: 'scheduler' })
  context.changes.announce('process', process.guid)
}
