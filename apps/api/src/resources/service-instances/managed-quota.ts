import type { Prisma, Transaction } from '@bloomery/database'
import { unprocessable } from '../../http/errors.js'
import type { SpaceInOrganization } from '../spaces/find-space.js'

/** Refuses instances beyond the quota of the space or its organization, and holds off others who count there until commit. */
export async function requireInstanceQuota(tx: Transaction, space: SpaceInOrganization): Promise<void> {
  const { ofSpace, ofOrganization } = await quotasOf(tx, space)
  if (isReached(ofSpace?.totalServiceInstances, await count(tx, { spaceGuid: space.guid })))
    throw unprocessable("You have exceeded your space's services limit.")
  const everywhere = await count(tx, { space: { organizationGuid: space.organizationGuid } })
  if (isReached(ofOrganization.totalServiceInstances, everywhere))
    throw unprocessable("You have exceeded your organization's services limit.")
}

/** Refuses plans that cost something where they are not allowed. */
export async function requirePaidPlansAllowed(
  tx: Transaction,
  space: SpaceInOrganization,
  plan: { readonly free: boolean },
): Promise<void> {
  if (plan.free) return
  const { ofSpace, ofOrganization } = await quotasOf(tx, space)
  const refusal = 'The service instance cannot be created because paid service plans are not allowed'
  if (ofSpace?.paidServicesAllowed === false) throw unprocessable(`${refusal} for your space.`)
  if (!ofOrganization.paidServicesAllowed) throw unprocessable(`${refusal}.`)
}

async function quotasOf(tx: Transaction, space: SpaceInOrganization) {
  await tx.$executeRaw`SELECT 1 FROM organizations WHERE guid = ${space.organizationGuid} FOR NO KEY UPDATE`
  return {
    ofSpace: space.quotaGuid === null ? null : await tx.spaceQuota.findUnique({ where: { guid: space.quotaGuid } }),
    ofOrganization: await tx.organizationQuota.findUniqueOrThrow({ where: { guid: space.organization.quotaGuid } }),
  }
}

const isReached = (limit: number | null | undefined, used: number): boolean => limit != null && used >= limit
const count = (tx: Transaction, where: Prisma.ServiceInstanceWhereInput): Promise<number> =>
  tx.serviceInstance.count({ where: { AND: [where, { type: 'managed' }] } })
