import { z } from 'zod'
import type { Context } from '../../http/context.js'
import type { JobActor } from '../../jobs/jobs.js'
import { lockApp, IN_SPACE } from './find-app.js'
import { waitUntilUnbound } from '../../service-bindings/await-bindings.js'
import { BINDING_PARTS } from '../service-credential-bindings/binding-parts.js'
import { deleteBinding } from '../service-credential-bindings/delete-binding.js'
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
  if (!isGone) await unbindAll(context, guid, actor)
  for (const key of keys) await blobstore.delete(key)
  if (!isGone)
    await db.$transaction(async (tx) => {
      const app = await tx.app.findUnique({ where: { guid }, include: IN_SPACE })
      if (!app) return
      await lockApp(tx, guid)
      await tx.app.update({ where: { guid }, data: { currentDropletGuid: null } })
      await tx.app.delete({ where: { guid } })
      await recordAppEvent(tx, actor, app, 'audit.app.delete-request', { request: { recursive: true } })
    })
  nudges.send({ topic: 'scheduler' })
  await logReader.forget(guid).catch((error: unknown) => {
    context.log.warn({ err: error, app: guid }, "the log store could not be told to forget an app's lines; it drops them in time")
  })
}

/** Lets go of every service; where brokers take their time, waits for them. */
async function unbindAll(context: Context, appGuid: string, actor: JobActor): Promise<void> {
  const { db, operations } = context
  const asked = await db.$transaction(async (tx) => {
    const bindings = await tx.credentialBinding.findMany({ where: { appGuid }, include: BINDING_PARTS, orderBy: { guid: 'asc' } })
    const left: string[] = []
    for (const binding of bindings) {
      const { isGone } = await deleteBinding(tx, context, actor, binding, 'part')
      if (!isGone) left.push(binding.guid)
    }
    return left
  })
  operations.kick()
  if (asked.length > 0) await waitUntilUnbound(db, asked)
}

async function blobsOf({ db, blobstore }: Context, appGuid: string): Promise<Set<string>> {
  const where = { where: { appGuid, blobKey: { not: null } }, select: { blobKey: true } } as const
  const [packages, droplets] = await Promise.all([db.package.findMany(where), db.droplet.findMany(where)])
  const keys = new Set([...packages, ...droplets].flatMap(({ blobKey }) => (blobKey === null ? [] : [blobKey])))
  for await (const { key } of blobstore.list(`caches/${appGuid}/`)) keys.add(key)
  return keys
}
