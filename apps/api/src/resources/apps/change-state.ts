import type { App, Transaction } from '@bloomery/database'
import type { Context } from '../../http/context.js'
import type { JobActor } from '../../jobs/jobs.js'
import { requireProcessQuota } from '../../runs/process-quota.js'
import { requireCurrentDroplet, writeRunSpecs } from '../../runs/write-run-specs.js'
import { logForApp, recordAppEvent } from './app-events.js'
import { lockApp } from './find-app.js'
import { createMissingProcesses } from './processes-of-app.js'

type Parts = Pick<Context, 'db' | 'keyring' | 'settings' | 'nudges' | 'logSender' | 'changes'>

/** Freezes new specs for all processes and wishes them to run; in the caller's transaction. */
export async function beginRunning(tx: Transaction, context: Parts, appGuid: string): Promise<App> {
  const app = await lockApp(tx, appGuid)
  const droplet = await requireCurrentDroplet(tx, app)
  await createMissingProcesses(tx, context, appGuid, droplet)
  const processes = await tx.process.findMany({ where: { appGuid }, orderBy: [{ createdAt: 'asc' }, { guid: 'asc' }] })
  await requireProcessQuota(tx, app, app.state === 'STARTED' ? processes : [], processes)
  await writeRunSpecs(tx, context, app, droplet, processes)
  return tx.app.update({ where: { guid: appGuid }, data: { state: 'STARTED' } })
}

/** As in the reference a started app stays as it is. */
export async function startApp(context: Parts, actor: JobActor, guid: string): Promise<App> {
  const { app, changed } = await context.db.$transaction(async (tx) => {
    const present = await lockApp(tx, guid)
    if (present.state === 'STARTED' && (await isRunnable(tx, guid))) return { app: present, changed: false }
    const started = await beginRunning(tx, context, guid)
    await recordAppEvent(tx, actor, present, 'audit.app.start')
    return { app: started, changed: true }
  }, TRANSACTION)
  if (changed) tell(context, guid, 'STARTED')
  return app
}

export async function stopApp(context: Parts, actor: JobActor, guid: string): Promise<App> {
  const { app, changed } = await context.db.$transaction(async (tx) => {
    const present = await lockApp(tx, guid)
    if (present.state === 'STOPPED') return { app: present, changed: false }
    const stopped = await tx.app.update({ where: { guid }, data: { state: 'STOPPED' } })
    await recordAppEvent(tx, actor, present, 'audit.app.stop')
    return { app: stopped, changed: true }
  }, TRANSACTION)
  if (changed) tell(context, guid, 'STOPPED')
  return app
}

/** New specs, whether the app ran or not: instances of the older ones are replaced. */
export async function restartApp(context: Parts, actor: JobActor, guid: string): Promise<App> {
  const app = await context.db.$transaction(async (tx) => {
    const present = await lockApp(tx, guid)
    const restarted = await beginRunning(tx, context, guid)
    await recordAppEvent(tx, actor, present, 'audit.app.restart')
    return restarted
  }, TRANSACTION)
  tell(context, guid, 'STARTED')
  return app
}

export const TRANSACTION = { timeout: 20_000, maxWait: 10_000 } as const

const isRunnable = async (tx: Transaction, appGuid: string): Promise<boolean> =>
  (await tx.process.count({ where: { appGuid, currentSpecGuid: { not: null } } })) > 0

function tell(context: Parts, guid: string, state: string): void {
  context.nudges.send({ topic: 'scheduler' })
  context.changes.announce('process', guid)
  logForApp(context, guid, `Updated app with guid ${guid} (${JSON.stringify({ state })})`)
}
