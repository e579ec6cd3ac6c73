import { EMPTY_USAGE, quotaViolations } from '@bloomery/domain'
import type { Transaction } from '@bloomery/database'
import { unprocessable } from '../../http/errors.js'
import type { SpaceInOrganization } from '../spaces/find-space.js'

/** Refuses routes beyond the quota of the space or of its organization; holds off others who count in the same organization until commit. */
export async function requireRouteQuota(tx: Transaction, space: SpaceInOrganization, added: number): Promise<void> {
  await tx.$executeRaw`SELECT 1 FROM organizations WHERE guid = ${space.organizationGuid} FOR NO KEY UPDATE`
  const spaceQuota = space.quotaGuid === null ? null : await tx.spaceQuota.findUnique({ where: { guid: space.quotaGuid } })
  if (spaceQuota) {
    const routes = await tx.route.count({ where: { spaceGuid: space.guid } })
    const broken = quotaViolations('space', spaceQuota, { ...EMPTY_USAGE, routes }, { ...EMPTY_USAGE, routes: routes + added })
    if (broken.length > 0) throw unprocessable(`Routes quota exceeded for space '${space.name}'.`)
  }
  const quota = await tx.organizationQuota.findUniqueOrThrow({ where: { guid: space.organization.quotaGuid } })
  const routes = await tx.route.count({ where: { space: { organizationGuid: space.organizationGuid } } })
  const broken = quotaViolations('organization', quota, { ...EMPTY_USAGE, routes }, { ...EMPTY_USAGE, routes: routes + added })
  if (broken.length > 0) throw unprocessable(`Routes quota exceeded for organization '${space.organization.name}'.`)
}
