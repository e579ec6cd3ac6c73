import type { Transaction } from '@bloomery/database'
import { unprocessable } from '../../http/errors.js'
import type { SpaceInOrganization } from '../spaces/find-space.js'

/** Refuses one more service key where the organization's or the space's quota has no room; keys of one organization are judged in turn. */
export async function requireKeyQuota(tx: Transaction, space: SpaceInOrganization): Promise<void> {
  const { organizationGuid } = space
  await tx.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended(${`bloomery:quota:${organizationGuid}`}, 0))`
  const organizationQuota = await tx.organizationQuota.findUnique({ where: { guid: space.organization.quotaGuid } })
  const spaceQuota = space.quotaGuid === null ? null : await tx.spaceQuota.findUnique({ where: { guid: space.quotaGuid } })
  const scopes = [
    ['organization', organizationQuota?.totalServiceKeys, { serviceInstance: { space: { organizationGuid } } }],
    ['space', spaceQuota?.totalServiceKeys, { serviceInstance: { spaceGuid: space.guid } }],
  ] as const
  for (const [scope, limit, where] of scopes) {
    if (limit === null || limit === undefined) continue
    if ((await tx.credentialBinding.count({ where: { type: 'key', ...where } })) >= limit)
      throw unprocessable(`You have exceeded your ${scope}'s limit for service binding of type key.`)
  }
}
