import type { FastifyInstance } from 'fastify'
import { recordAudit } from '../../http/audit.js'
import type { Context } from '../../http/context.js'
import { notAuthorized } from '../../http/permissions.js'
import { actorOf } from '../../jobs/routes.js'
import { type Garbage, listGarbage } from '../../retention/list-garbage.js'
import { collect } from '../../retention/retain.js'

/** What the platform keeps without need: listed with the reason, and deleted when told to instead of at the next hour. */
export function garbageRoutes(app: FastifyInstance, context: Context): void {
  const { db, pool, blobstore, log, now } = context

  app.get('/bloomery/v1/garbage', { config: { permission: 'admin.read' } }, async (request) => {
    if (!request.access.isGlobalReader) throw notAuthorized()
    return present(await listGarbage(pool, blobstore, now()))
  })

  app.post('/bloomery/v1/garbage/actions/collect', { config: { permission: 'admin' } }, async (request) => {
    const found = await listGarbage(pool, blobstore, now())
    await collect({ pool, blobstore, log, now })
    const { total } = present(found)
    await db.$transaction((tx) =>
      recordAudit(tx, actorOf(request), {
        type: 'audit.bloomery.garbage.collect',
        target: { type: 'platform', guid: context.settings.installationId, name: 'blob store' },
        data: { request: total },
      }),
    )
    return present(found)
  })
}

const present = (found: readonly Garbage[]) => ({
  total: { blobs: found.length, bytes: found.reduce((sum, { bytes }) => sum + bytes, 0) },
  resources: found.map(({ key, kind, bytes, reason, app }) => ({ key, kind, bytes, reason, app: app ?? null })),
})
