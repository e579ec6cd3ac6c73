import { setTimeout as delay } from 'node:timers/promises'
import { execute, type Pool, rows, sql, transaction } from '@bloomery/database/sql'
import type { Logger } from '@bloomery/telemetry'
import { nextRun } from '../catalog/parameters.js'
import type { Intake } from '../operations/intake.js'
import { lockInstance } from '../state/instances.js'
import { addOperation, openOperations } from '../state/operations.js'

const LOOK_EVERY_MS = 15_000

interface Parts {
  readonly pool: Pool
  readonly intake: Pick<Intake, 'newBackup'>
  readonly nudge: () => void
  readonly log: Logger
}

/** Begins backups whose time has come. What was missed while no broker ran is made up for once. */
export async function keepSchedule(parts: Parts, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await beginDue(parts, new Date()).catch((error: unknown) =>
      parts.log.warn({ err: error }, 'backups that are due could not be begun'),
    )
    await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined)
  }
}

export async function beginDue({ pool, intake, nudge, log }: Parts, now: Date): Promise<void> {
  const due = await rows<{ guid: string }>(
    pool,
    sql`SELECT guid FROM instances WHERE next_backup_at <= ${now} AND state = 'ready'`,
  )
  for (const { guid } of due)
    await transaction(pool, async (tx) => {
      const instance = await lockInstance(tx, guid)
      if (!instance?.schedule || instance.state !== 'ready' || !instance.nextBackupAt || instance.nextBackupAt > now) return
      // Busy: at the next look.
      if ((await openOperations(tx, guid)).length > 0) return
      await execute(tx, sql`UPDATE instances SET next_backup_at = ${nextRun(instance.schedule, now)} WHERE guid = ${guid}`)
      await addOperation(tx, await intake.newBackup(tx, instance, true))
      log.info({ instance: guid }, 'a scheduled backup begins')
    })
  if (due.length > 0) nudge()
}
