import { z } from 'zod'
import type { Context } from '../../http/context.js'
import type { JobActor } from '../../jobs/jobs.js'
import { lockApp, IN_SPACE } from './find-app.js'
import { recordAppEvent } from './app-events.js'

export const DeleteAppParams = z.object({ guid: z.string() })

/** Deletes an app with all that is its own. Each step asks what is left, so that it can be run again after a crash at any line. */
export async function deleteApp(context: Context, guid: string, actor: JobActor): Promise<void> {
  const { db, blobstore, logReader, nudges } = context
  const keys = await blobsOf(context, guid)
  const isGone = (await db.app.findUnique({ where: { guid }, select: { guid: true } })) === null
  if (!isGone) {
    // What stages now is to stop, and what runs goes with the rows: the scheduler stops whatever no process wants.
    await db.build.updateMany({ where: { appGuid: guid, state: 'STAGING' }, data: { cancelRequested: true } })
    nudges.send({ topic: 'stager' })
    await db.app.updateMany({ where: { guid }, data: { state: 'STOPPED' } })
  }
  for (const key of keys) await blobstore.delete(key)
  if (!isGone)
    await db.$transaction(async (tx) => {
      const app = await tx.app.findUnique({ where: { guid }, include: IN_SPACE })
      if (!app) return
      await lockApp(tx, guid)
      await tx.credentialBinding.deleteMany({ where: { appGuid: guid } })
      await tx.app.update({ where: { guid }, data: { currentDropletGuid: null } })
      await tx.app.delete({ where: { guid } })
      await recordAppEvent(tx, actor, app, 'audit.app.delete-request', { request: { recursive: true } })
    })
  nudges.send({ topic: 'scheduler' })
  await logReader.forget(guid).catch((error: unknown) => {
    context.log.warn({ err: error, app: guid }, "the log store could not be told to forget an app's lines; it drops them in time")
  })
}

async function blobsOf({ db, blobstore }: Context, appGuid: string): Promise<Set<string>> {
  const where = { where: { appGuid, blobKey: { not: null } }, select: { blobKey: true } } as const
  const [packages, droplets] = await Promise.all([db.package.findMany(where), db.droplet.findMany(where)])
  const keys = new Set([...packages, ...droplets].flatMap(({ blobKey }) => (blobKey === null ? [] : [blobKey])))
  for await (const { key } of blobstore.list(`caches/${appGuid}/`)) keys.add(key)
  return keys
}
