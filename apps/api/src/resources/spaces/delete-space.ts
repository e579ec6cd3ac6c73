import { z } from 'zod'
import { recordAudit } from '../../http/audit.js'
import type { Context } from '../../http/context.js'
import type { JobActor, RunningJob } from '../../jobs/jobs.js'
import { deleteRoutes } from '../routes/delete-routes.js'
import { deleteServiceInstance } from '../service-instances/delete-service-instance.js'

export const DeleteSpaceParams = z.object({ guid: z.string() })

/** Deletes a space and all that is in it, step by step; run again, it goes on where it was. */
export async function deleteSpace(context: Context, guid: string, job: RunningJob<unknown>): Promise<void> {
  const { db, jobs } = context
  const { actor } = job
  const space = await db.space.findUnique({ where: { guid } })
  if (!space) return
  const apps = await db.app.findMany({ where: { spaceGuid: guid }, select: { guid: true } })
  for (const app of apps) await jobs.perform('app.delete', { guid: app.guid }, job)
  await deleteServiceInstances(context, guid, actor)
  await deleteRoutes(context, { spaceGuid: guid }, actor)
  await db.$transaction(async (tx) => {
    const { count } = await tx.space.deleteMany({ where: { guid } })
    if (count === 0) return
    await recordAudit(tx, actor, {
      type: 'audit.space.delete-request',
      target: { type: 'space', guid, name: space.name },
      spaceGuid: guid,
      organizationGuid: space.organizationGuid,
      data: { request: { recursive: true } },
    })
  })
}

async function deleteServiceInstances({ db }: Context, spaceGuid: string, actor: JobActor): Promise<void> {
  const instances = await db.serviceInstance.findMany({ where: { spaceGuid }, select: { guid: true } })
  for (const { guid } of instances) await db.$transaction((tx) => deleteServiceInstance(tx, actor, guid))
}
