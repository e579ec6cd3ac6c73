import type { Process, Transaction } from '@bloomery/database'
import { z } from 'zod'
import { Integer } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import type { JobActor } from '../../jobs/jobs.js'
import { requireProcessQuota } from '../../runs/process-quota.js'
import { logForApp, recordAppEvent } from '../apps/app-events.js'
import { TRANSACTION } from '../apps/change-state.js'
import { lockApp } from '../apps/find-app.js'

const POSTGRES_MAX = 2_147_483_647
const atLeast = (minimum: number, words: string) =>
  Integer.pipe(z.number().min(minimum, words).max(POSTGRES_MAX, `must be less than or equal to ${POSTGRES_MAX}`))
export const ScaleProcess = z.strictObject({
  instances: atLeast(0, 'must be greater than or equal to 0').nullish(),
  memory_in_mb: atLeast(1, 'must be greater than 0').nullish(),
  disk_in_mb: atLeast(1, 'must be greater than 0').nullish(),
  log_rate_limit_in_bytes_per_second: Integer.pipe(z.number().min(-1, 'must be greater than or equal to -1')).nullish(),
})
export type ScaleProcess = z.infer<typeof ScaleProcess>

type Parts = Pick<Context, 'settings'>

/** The number of instances takes effect at once; memory, disk and log rate with the next start. In the caller's transaction. */
export async function scaleProcessIn(
  tx: Transaction,
  { settings }: Parts,
  actor: JobActor,
  process: Pick<Process, 'guid' | 'appGuid'>,
  wish: ScaleProcess,
  options: { readonly manifestTriggered?: boolean } = {},
): Promise<Process> {
  const { maxDiskMb } = settings.defaults
  if ((wish.disk_in_mb ?? 0) > maxDiskMb)
    throw unprocessable(
      `disk_in_mb too much disk requested (requested ${wish.disk_in_mb ?? 0} MB - must be less than or equal to ${maxDiskMb} MB)`,
    )
  const app = await lockApp(tx, process.appGuid)
  const all = await tx.process.findMany({ where: { appGuid: app.guid } })
  const present = all.find(({ guid }) => guid === process.guid)
  if (!present) throw notFound('Process')
  if (present.type === 'web' && (await tx.deployment.count({ where: { appGuid: app.guid, statusValue: 'ACTIVE' } })) > 0)
    throw unprocessable('Cannot scale this process while a deployment is in flight.')
  const changed: Process = {
    ...present,
    instances: wish.instances ?? present.instances,
    memoryMb: wish.memory_in_mb ?? present.memoryMb,
    diskMb: wish.disk_in_mb ?? present.diskMb,
    logRateLimit:
      wish.log_rate_limit_in_bytes_per_second == null ? present.logRateLimit : BigInt(wish.log_rate_limit_in_bytes_per_second),
  }
  // A stopped app uses nothing yet, but what could never start is refused at once.
  if (app.state === 'STARTED')
    await requireProcessQuota(
      tx,
      app,
      all,
      all.map((each) => (each.guid === changed.guid ? changed : each)),
    )
  else await requireProcessQuota(tx, app, [present], [changed])
  const row = await tx.process.update({
    where: { guid: present.guid },
    data: {
      instances: changed.instances,
      memoryMb: changed.memoryMb,
      diskMb: changed.diskMb,
      logRateLimit: changed.logRateLimit,
    },
  })
  await recordAppEvent(tx, actor, app, 'audit.app.process.scale', {
    process_guid: row.guid,
    process_type: row.type,
    manifest_triggered: options.manifestTriggered ?? false,
    request: Object.fromEntries(Object.entries(wish).filter(([, value]) => value != null)) as Record<string, number>,
  })
  return row
}

export async function scaleProcess(
  context: Context,
  actor: JobActor,
  process: Pick<Process, 'guid' | 'appGuid'>,
  wish: ScaleProcess,
): Promise<Process> {
  const scaled = await context.db.$transaction((tx) => scaleProcessIn(tx, context, actor, process, wish), TRANSACTION)
  context.nudges.send({ topic: 'scheduler' })
  context.changes.announce('process', scaled.guid)
  logForApp(context, scaled.appGuid, `Updated app with guid ${scaled.appGuid} (${JSON.stringify(wish)})`)
  return scaled
}
