import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import type { Transaction } from '@bloomery/database'
import { parseBody, ToOneNullable } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import type { JobActor } from '../../jobs/jobs.js'
import { actorOf } from '../../jobs/routes.js'
import { presentDroplet } from '../droplets/presenter.js'
import { logForApp, recordAppEvent } from './app-events.js'
import { findApp, lockApp, type AppInSpace } from './find-app.js'
import { createMissingProcesses } from './processes-of-app.js'

interface ByGuid {
  Params: { guid: string }
}
const SetDroplet = z.object({ ...ToOneNullable.shape })

/** Which droplet an app's processes start with. Setting one changes nothing that runs. */
export function currentDropletRoutes(app: FastifyInstance, context: Context): void {
  const { db } = context
  const present = (guid: string, dropletGuid: string | null, baseUrl: string) => ({
    data: dropletGuid === null ? null : { guid: dropletGuid },
    links: {
      self: { href: `${baseUrl}/v3/apps/${guid}/relationships/current_droplet` },
      related: { href: `${baseUrl}/v3/apps/${guid}/droplets/current` },
    },
  })

  app.get<ByGuid>('/v3/apps/:guid/relationships/current_droplet', { config: { permission: 'space.read' } }, async (request) => {
    const found = await findApp(db, request, request.params.guid, 'space.read')
    if (found.currentDropletGuid === null) throw notFound('Droplet')
    return present(found.guid, found.currentDropletGuid, request.baseUrl)
  })

  app.get<ByGuid>('/v3/apps/:guid/droplets/current', { config: { permission: 'space.read' } }, async (request) => {
    const found = await findApp(db, request, request.params.guid, 'space.read')
    const droplet =
      found.currentDropletGuid === null ? null : await db.droplet.findUnique({ where: { guid: found.currentDropletGuid } })
    if (!droplet) throw notFound('Droplet')
    return presentDroplet(droplet, request.baseUrl)
  })

  app.patch<ByGuid>(
    '/v3/apps/:guid/relationships/current_droplet',
    { config: { permission: 'space.operate' } },
    async (request) => {
      const found = await findApp(db, request, request.params.guid, 'space.operate')
      const { data } = parseBody(SetDroplet, request.body)
      if (data === null) throw unprocessable('Current droplet cannot be cleared; name the droplet to start with.')
      await db.$transaction(async (tx) => {
        const locked = await lockApp(tx, found.guid)
        await refuseDuringDeployment(tx, locked)
        await assignDroplet(tx, context, actorOf(request), locked, data.guid)
      })
      logForApp(context, found.guid, `Updated app with guid ${found.guid} (${JSON.stringify({ droplet_guid: data.guid })})`)
      return present(found.guid, data.guid, request.baseUrl)
    },
  )
}

async function refuseDuringDeployment(tx: Transaction, app: AppInSpace): Promise<void> {
  if ((await tx.deployment.count({ where: { appGuid: app.guid, statusValue: 'ACTIVE' } })) > 0)
    throw unprocessable('Cannot assign a droplet while a deployment is under way; wait until it has ended, or cancel it first.')
}

/** Makes a staged droplet of this app the current one and adds rows for the process types it brings. The app must be locked. */
export async function assignDroplet(
  tx: Transaction,
  context: Pick<Context, 'settings'>,
  actor: JobActor,
  app: AppInSpace,
  dropletGuid: string,
): Promise<void> {
  const droplet = await tx.droplet.findUnique({ where: { guid: dropletGuid } })
  if (droplet?.appGuid !== app.guid)
    throw unprocessable('Unable to assign current droplet. Ensure the droplet exists and belongs to this app.')
  if (droplet.state !== 'STAGED')
    throw unprocessable(`Unable to assign current droplet. The droplet is in the state ${droplet.state}, it must be STAGED.`)
  await tx.app.update({ where: { guid: app.guid }, data: { currentDropletGuid: droplet.guid } })
  await createMissingProcesses(tx, context, app.guid, droplet)
  if (app.currentDropletGuid !== droplet.guid)
    await recordAppEvent(tx, actor, app, 'audit.app.droplet.mapped', { request: { droplet_guid: droplet.guid } })
}
