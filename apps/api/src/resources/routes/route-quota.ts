import { EMPTY_USAGE, quotaViolations, type QuotaUsage } from '@bloomery/domain'
import type { Prisma, Transaction } from '@bloomery/database'
import { unprocessable } from '../../http/errors.js'
import type { SpaceInOrganization } from '../spaces/find-space.js'

type RouteUsage = Pick<QuotaUsage, 'routes'> & Partial<Pick<QuotaUsage, 'reservedPorts'>>

/** Refuses routes and ports beyond the quota of the space or of its organization; holds off others who count in the same organization until commit. */
export async function requireRouteQuota(tx: Transaction, space: SpaceInOrganization, added: RouteUsage): Promise<void> {
  await tx.$executeRaw`SELECT 1 FROM organizations WHERE guid = ${space.organizationGuid} FOR NO KEY UPDATE`
  const spaceQuota = space.quotaGuid === null ? null : await tx.spaceQuota.findUnique({ where: { guid: space.quotaGuid } })
  if (spaceQuota) {
    const before = await usageOf(tx, { spaceGuid: space.guid })
    refuse(quotaViolations('space', spaceQuota, before, plus(before, added)), `space '${space.name}'`)
  }
  const quota = await tx.organizationQuota.findUniqueOrThrow({ where: { guid: space.organization.quotaGuid } })
  const before = await usageOf(tx, { space: { organizationGuid: space.organizationGuid } })
  refuse(quotaViolations('organization', quota, before, plus(before, added)), `organization '${space.organization.name}'`)
}

const usageOf = async (tx: Transaction, where: Prisma.RouteWhereInput): Promise<QuotaUsage> => ({
  ...EMPTY_USAGE,
  routes: await tx.route.count({ where }),
  reservedPorts: await tx.route.count({ where: { AND: [where, { port: { gt: 0 } }] } }),
})

const plus = (usage: QuotaUsage, { routes, reservedPorts = 0 }: RouteUsage): QuotaUsage => ({
  ...usage,
  routes: usage.routes + routes,
  reservedPorts: usage.reservedPorts + reservedPorts,
})

function refuse(broken: ReturnType<typeof quotaViolations>, where: string): void {
  if (broken.some(({ limit }) => limit === 'totalRoutes')) throw unprocessable(`Routes quota exceeded for ${where}.`)
  if (broken.length > 0) throw unprocessable(`Reserved route ports quota exceeded for ${where}.`)
}
