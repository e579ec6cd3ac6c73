import { z } from 'zod'
import { recordAudit } from '../../http/audit.js'
import type { Context } from '../../http/context.js'
import type { RunningJob } from '../../jobs/jobs.js'
import { deleteRoutes } from '../routes/delete-routes.js'
import { deleteSpace } from '../spaces/delete-space.js'

export const DeleteOrganizationParams = z.object({ guid: z.string() })

/** Deletes an organization, its spaces and its domains, step by step; run again, it goes on where it was. */
export async function deleteOrganization(context: Context, guid: string, job: RunningJob<unknown>): Promise<void> {
  const { db } = context
  const { actor } = job
  const organization = await db.organization.findUnique({ where: { guid }, include: { spaces: { select: { guid: true } } } })
  if (!organization) return
  for (const space of organization.spaces) await deleteSpace(context, space.guid, job)
  // Its domains may have been shared: what others have on them goes with them.
  await deleteRoutes(context, { domain: { organizationGuid: guid } }, actor)
  await db.$transaction(async (tx) => {
    await tx.domain.deleteMany({ where: { organizationGuid: guid } })
    const { count } = await tx.organization.deleteMany({ where: { guid } })
    if (count === 0) return
    await recordAudit(tx, actor, {
      type: 'audit.organization.delete-request',
      target: { type: 'organization', guid, name: organization.name },
      organizationGuid: guid,
      data: { request: { recursive: true } },
    })
  })
}
