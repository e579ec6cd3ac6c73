import { setTimeout as delay } from 'node:timers/promises'
import { CfError } from '@bloomery/contracts'
import { z } from 'zod'
import { recordAudit } from '../../http/audit.js'
import type { Context } from '../../http/context.js'
import type { JobActor, RunningJob } from '../../jobs/jobs.js'
import { deleteRoutes } from '../routes/delete-routes.js'
import { removeDashboardClients } from '../service-brokers/dashboard-clients.js'
import { deleteServiceInstance } from '../service-instances/delete-service-instance.js'
import { INSTANCE_PARTS } from '../service-instances/find-service-instance.js'
import { readLastOperation } from '../service-instances/last-operation.js'

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
    for (const broker of await tx.serviceBroker.findMany({ where: { spaceGuid: guid } })) await removeDashboardClients(tx, broker)
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

const LOOK_EVERY_MS = 300

/** Those of brokers are deprovisioned, and waited for: a space whose services could not be removed stays. */
async function deleteServiceInstances({ db, operations }: Context, spaceGuid: string, actor: JobActor): Promise<void> {
  const where = { spaceGuid }
  for (const { guid } of await db.serviceInstance.findMany({ where: { ...where, type: 'user-provided' } }))
    await db.$transaction((tx) => deleteServiceInstance(tx, actor, guid))
  const managed = await db.serviceInstance.findMany({ where, include: INSTANCE_PARTS })
  await db.$transaction(async (tx) => {
    for (const { guid, plan } of managed)
      await operations.enqueue(tx, {
        resourceType: 'instance',
        resourceGuid: guid,
        serviceInstanceGuid: guid,
        type: 'delete',
        brokerGuid: plan?.offering.brokerGuid ?? null,
        params: {},
        actor,
      })
  })
  operations.kick()
  const guids = managed.map(({ guid }) => guid)
  const pending = () =>
    db.serviceOperation.count({ where: { resourceType: 'instance', resourceGuid: { in: guids }, type: 'delete' } })
  while ((await pending()) > 0) await delay(LOOK_EVERY_MS)
  const left = await db.serviceInstance.findMany({ where })
  if (left.length === 0) return
  const reasons = left.map(
    ({ name, lastOperation }) => `\t${name}: ${readLastOperation(lastOperation)?.description ?? 'could not be deleted'}`,
  )
  throw new CfError(
    'SpaceDeletionFailed',
    `Deletion of space failed because one or more resources within could not be deleted.\n\n${reasons.join('\n\n')}`,
  )
}
