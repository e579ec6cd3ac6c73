import type { FastifyInstance } from 'fastify'
import { recordAudit } from '../../http/audit.js'
import type { Context } from '../../http/context.js'
import { notAuthorized } from '../../http/permissions.js'
import { actorOf } from '../../jobs/routes.js'
import { type Garbage, listGarbage } from '../../retention/list-garbage.js'
import { askForMachineLeftovers, listMachineLeftovers, type ListedLeftover } from '../../retention/machine-leftovers.js'
import { collect } from '../../retention/retain.js'

/** What the platform keeps without need: listed with the reason, and deleted when told to instead of at the next hour. */
export function garbageRoutes(app: FastifyInstance, context: Context): void {
  const { db, pool, blobstore, log, now } = context

  app.get('/bloomery/v1/garbage', { config: { permission: 'admin.read' } }, async (request) => {
    if (!request.access.isGlobalReader) throw notAuthorized()
    return present(await listGarbage(pool, blobstore, now()), await listMachineLeftovers(pool))
  })

  app.post('/bloomery/v1/garbage/actions/collect', { config: { permission: 'admin' } }, async (request) => {
    const found = await listGarbage(pool, blobstore, now())
    const machines = await listMachineLeftovers(pool)
    await askForMachineLeftovers(pool, now())
    await collect({ pool, blobstore, log, now })
    const presented = present(found, machines)
    await db.$transaction((tx) =>
      recordAudit(tx, actorOf(request), {
        type: 'audit.bloomery.garbage.collect',
        target: { type: 'platform', guid: context.settings.installationId, name: 'blob store and machines' },
        data: { request: presented.total },
      }),
    )
    return presented
  })
}

const present = (found: readonly Garbage[], machines: readonly ListedLeftover[]) => ({
  total: {
    blobs: found.length,
    leftovers: machines.length,
    bytes: [...found, ...machines].reduce((sum, { bytes }) => sum + bytes, 0),
  },
  resources: [
    ...found.map(({ key, kind, bytes, reason, app }) => ({ key, kind, bytes, reason, app: app ?? null, machine: null })),
    ...machines.map(({ machine, path, kind, bytes, reason }) => ({ key: path, kind, bytes, reason, app: null, machine })),
  ],
})
