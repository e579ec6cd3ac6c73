import type { Prisma } from '@bloomery/database'
import { recordAudit } from '../../http/audit.js'
import type { Context } from '../../http/context.js'
import type { JobActor } from '../../jobs/jobs.js'
import { unbindRoutes } from '../service-route-bindings/delete-route-binding.js'

const BATCH = 200

/** Deletes every route of that kind, some at a time, and lets the routers know at once. */
export async function deleteRoutes(
  { db, nudges, operations }: Pick<Context, 'db' | 'nudges' | 'operations'>,
  where: Prisma.RouteWhereInput,
  actor: JobActor,
): Promise<void> {
  await unbindRoutes({ db, operations }, where, actor)
  for (;;) {
    const deleted = await db.$transaction(async (tx) => {
      const routes = await tx.route.findMany({ where, include: { space: true }, take: BATCH, orderBy: { guid: 'asc' } })
      for (const route of routes)
        await recordAudit(tx, actor, {
          type: 'audit.route.delete-request',
          target: { type: 'route', guid: route.guid, name: route.host },
          spaceGuid: route.spaceGuid,
          organizationGuid: route.space.organizationGuid,
          data: { request: { recursive: true } },
        })
      await tx.route.deleteMany({ where: { guid: { in: routes.map(({ guid }) => guid) } } })
      return routes.length
    })
    if (deleted > 0) nudges.send({ topic: 'scheduler' })
    if (deleted < BATCH) return
  }
}
