import type { FastifyRequest } from 'fastify'
import { CfError } from '@bloomery/contracts'
import type { Database, Prisma, Transaction } from '@bloomery/database'
import type { PlanVisibility } from '@bloomery/domain'
import { isFeatureEnabled } from '../../http/feature-flags.js'

export const PLAN_PARTS = { offering: { include: { broker: true } } } as const
export type PlanOfBroker = Prisma.ServicePlanGetPayload<{ include: typeof PLAN_PARTS }>

/** Whoever has not logged in sees the marketplace too, unless the operator has hidden it. */
export async function requireOpenMarketplace(db: Database, request: FastifyRequest): Promise<void> {
  if (isAnonymous(request) && (await isFeatureEnabled(db, 'hide_marketplace_from_unauthenticated_users')))
    throw new CfError('NotAuthenticated', 'Authentication error')
}
// Routes that are open to all have no principal where no token came; with one, the hook has read it.
const isAnonymous = (request: FastifyRequest): boolean => (request.access as FastifyRequest['access'] | undefined) === undefined

const PUBLIC: Prisma.ServicePlanWhereInput = { visibilityType: 'public' }

/** Plans that the caller may see, as a condition: public ones, those of the caller's organizations, and of brokers of the caller's spaces. */
export function visiblePlans(request: FastifyRequest): Prisma.ServicePlanWhereInput {
  if (isAnonymous(request)) return PUBLIC
  const { access } = request
  if (access.isGlobalReader) return {}
  return {
    OR: [
      PUBLIC,
      { visibilityType: 'organization', visibilities: { some: { organization: access.organizations() } } },
      { offering: { broker: { space: access.spaces() } } },
    ],
  }
}

/** The same, and those of instances that the caller sees, whatever has become of their visibility. */
export function plansSeenAtAll(request: FastifyRequest): Prisma.ServicePlanWhereInput {
  const visible = visiblePlans(request)
  // An empty condition among alternatives would be none of them.
  if (Object.keys(visible).length === 0 || isAnonymous(request)) return visible
  const spaces = request.access.spaces()
  return { OR: [visible, { instances: { some: { OR: [{ space: spaces }, { sharings: { some: { space: spaces } } }] } } }] }
}

/** Plans of which instances can be made in one of these spaces; only what the caller reads counts. */
export const plansUsableInSpaces = (request: FastifyRequest, guids: readonly string[]): Prisma.ServicePlanWhereInput => {
  const space: Prisma.SpaceWhereInput = {
    AND: [{ guid: { in: [...guids] } }, isAnonymous(request) ? { guid: { in: [] } } : request.access.spaces()],
  }
  return usable({ organization: { spaces: { some: space } } }, { space })
}

/** Plans of which instances can be made somewhere in these organizations. */
export const plansUsableInOrganizations = (request: FastifyRequest, guids: readonly string[]): Prisma.ServicePlanWhereInput => {
  const organization: Prisma.OrganizationWhereInput = {
    AND: [{ guid: { in: [...guids] } }, isAnonymous(request) ? { guid: { in: [] } } : request.access.organizations()],
  }
  return usable({ organization }, { space: { organization } })
}

const usable = (
  visibility: Prisma.ServicePlanVisibilityWhereInput,
  broker: Prisma.ServiceBrokerWhereInput,
): Prisma.ServicePlanWhereInput => ({
  OR: [PUBLIC, { visibilityType: 'organization', visibilities: { some: visibility } }, { offering: { broker } }],
})

/** Whether instances of the plan may be made in the space: asked inside transactions too. */
export async function isUsableInSpace(
  on: Pick<Transaction, 'servicePlanVisibility'>,
  plan: PlanOfBroker,
  space: { readonly guid: string; readonly organizationGuid: string },
): Promise<boolean> {
  const visibility = plan.visibilityType as PlanVisibility
  switch (visibility) {
    case 'public':
      return true
    case 'admin':
      return false
    case 'space':
      return plan.offering.broker.spaceGuid === space.guid
    case 'organization':
      return (
        (await on.servicePlanVisibility.count({
          where: { planGuid: plan.guid, organizationGuid: space.organizationGuid },
        })) > 0
      )
  }
}

/** Who may change a plan or offering: admins, and developers of the space of its broker. */
export async function mayWriteCatalog(
  db: Database,
  request: FastifyRequest,
  broker: { readonly spaceGuid: string | null },
): Promise<boolean> {
  if (request.access.isAdmin) return true
  if (broker.spaceGuid === null) return false
  const space = await db.space.findUnique({ where: { guid: broker.spaceGuid } })
  return space !== null && request.access.hasInSpace('space.develop', space)
}
