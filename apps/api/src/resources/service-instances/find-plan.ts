import type { FastifyRequest } from 'fastify'
import type { Database } from '@bloomery/database'
import { unprocessable } from '../../http/errors.js'
import type { SpaceInOrganization } from '../spaces/find-space.js'
import { isUsableInSpace, PLAN_PARTS, visiblePlans, type PlanOfBroker } from '../service-plans/plan-access.js'

/** The plan, if instances of it can be made in the space by this caller; else the words say which of it is not so. */
export async function findUsablePlan(
  db: Database,
  request: FastifyRequest,
  guid: string,
  space: SpaceInOrganization,
): Promise<PlanOfBroker> {
  const plan = await db.servicePlan.findFirst({
    where: { AND: [{ guid }, visiblePlans(request)] },
    include: PLAN_PARTS,
  })
  if (!plan)
    throw unprocessable('Invalid service plan. Ensure that the service plan exists, is available, and you have access to it.')
  if (!plan.active)
    throw unprocessable(
      `Invalid service plan. The service plan '${plan.name}' with guid '${plan.guid}' has been removed from the service broker's catalog. It is not possible to create new service instances using this plan.`,
    )
  if (!(await isUsableInSpace(db, plan, space)))
    throw unprocessable(
      `Invalid service plan. This could be due to a space-scoped broker which is offering the service plan '${plan.name}' with guid '${plan.guid}' in another space or that the plan is not enabled in this organization. Ensure that the service plan is visible in your current space '${space.name}' with guid '${space.guid}'.`,
    )
  return plan
}

/** Whoever looks at the catalog now may find it half changed. */
export function requireAvailableBroker({ offering: { broker } }: PlanOfBroker): void {
  if (broker.state !== 'AVAILABLE')
    throw unprocessable(
      broker.state === 'SYNCHRONIZATION_FAILED'
        ? `The catalog of the service broker '${broker.name}' could not be read. Update the service broker, or ask your operator to.`
        : 'The service instance cannot be created because there is an operation in progress for the service broker.',
    )
}
