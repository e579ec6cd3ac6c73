import type { FastifyInstance, FastifyRequest } from 'fastify'
import { CfError } from '@bloomery/contracts'
import type { Transaction } from '@bloomery/database'
import { z } from 'zod'
import { recordAudit } from '../../http/audit.js'
import { parseBody } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { notAuthorized } from '../../http/permissions.js'
import { actorOf } from '../../jobs/routes.js'
import { mayWriteCatalog, PLAN_PARTS, visiblePlans, type PlanOfBroker } from './plan-access.js'

const Visibility = z
  .strictObject({
    type: z.enum(['public', 'admin', 'organization'], "must be one of 'public', 'admin', 'organization'"),
    organizations: z.array(z.object({ guid: z.string() })).optional(),
  })
  .superRefine(({ type, organizations }, context) => {
    if (type === 'organization' && (organizations?.length ?? 0) === 0)
      context.addIssue({ code: 'custom', path: ['organizations'], message: "can't be blank" })
    if (type !== 'organization' && organizations !== undefined)
      context.addIssue({ code: 'custom', path: ['organizations'], message: 'must be blank' })
  })
type Visibility = z.infer<typeof Visibility>
interface ByGuid {
  Params: { guid: string }
}
const PATH = '/v3/service_plans/:guid/visibility'

/** Who may see and use a plan. */
export function planVisibilityRoutes(app: FastifyInstance, { db }: Context): void {
  app.get<ByGuid>(PATH, { config: { permission: 'authenticated' } }, async (request) => {
    const plan = await find(request)
    return present(plan, await organizationsOf(request, plan))
  })

  // POST adds organizations, PATCH replaces them.
  app.post<ByGuid>(PATH, { config: { permission: 'space.develop' } }, async (request) => present(await update(request, true)))
  app.patch<ByGuid>(PATH, { config: { permission: 'space.develop' } }, async (request) => {
    const plan = await update(request, false)
    return present(plan, await organizationsOf(request, plan))
  })

  app.delete<{ Params: { guid: string; organization: string } }>(
    `${PATH}/:organization`,
    { config: { permission: 'space.develop' } },
    async (request, reply) => {
      const plan = await findWritable(request)
      if (plan.visibilityType !== 'organization') throw unprocessable('Cannot delete visibilities from non-org-restricted plans')
      const organizationGuid = request.params.organization
      if (!(await db.organization.findUnique({ where: { guid: organizationGuid } }))) throw notFound('Organization')
      await db.$transaction(async (tx) => {
        const { count } = await tx.servicePlanVisibility.deleteMany({ where: { planGuid: plan.guid, organizationGuid } })
        if (count === 0) throw notFound('Service plan visibility')
        // A plan that no organization sees is the operator's again.
        if ((await tx.servicePlanVisibility.count({ where: { planGuid: plan.guid } })) === 0)
          await tx.servicePlan.update({ where: { guid: plan.guid }, data: { visibilityType: 'admin' } })
        await record(tx, request, plan, 'delete', { organizationGuid })
      })
      return reply.code(204).send()
    },
  )

  async function update(request: FastifyRequest, append: boolean): Promise<PlanOfBroker> {
    const plan = await findWritable(request)
    const parsed = Visibility.safeParse(request.body ?? {})
    // A wrong type is told as a bad request here, as the reference does.
    if (!parsed.success) return badRequest(request)
    const { type, organizations } = parsed.data
    if (plan.visibilityType === 'space') throw unprocessable("cannot update plans with visibility type 'space'")
    const guids = (organizations ?? []).map(({ guid }) => guid)
    const found = await db.organization.count({ where: { guid: { in: guids } } })
    if (found < new Set(guids).size) {
      const known = await db.organization.findMany({ where: { guid: { in: guids } }, select: { guid: true } })
      const missing = guids.filter((guid) => !known.some((each) => each.guid === guid))
      throw unprocessable(`Could not find Organization with guid: ${missing.join(', ')}`)
    }
    return db.$transaction(async (tx) => {
      await tx.$executeRaw`SELECT 1 FROM service_plans WHERE guid = ${plan.guid} FOR UPDATE`
      if (type !== 'organization' || !append) await tx.servicePlanVisibility.deleteMany({ where: { planGuid: plan.guid } })
      await tx.servicePlanVisibility.createMany({
        data: guids.map((organizationGuid) => ({ planGuid: plan.guid, organizationGuid })),
        skipDuplicates: true,
      })
      await record(tx, request, plan, 'update', { request: parsed.data })
      return tx.servicePlan.update({ where: { guid: plan.guid }, data: { visibilityType: type }, include: PLAN_PARTS })
    })
  }

  function badRequest(request: FastifyRequest): never {
    try {
      parseBody(Visibility, request.body)
    } catch (error) {
      if (error instanceof CfError) throw new CfError('BadRequest', error.details)
      throw error
    }
    throw new CfError('BadRequest', 'The visibility cannot be read.')
  }

  async function find(request: FastifyRequest): Promise<PlanOfBroker> {
    const { guid } = request.params as ByGuid['Params']
    const plan = await db.servicePlan.findFirst({ where: { AND: [{ guid }, visiblePlans(request)] }, include: PLAN_PARTS })
    if (!plan) throw notFound('Service plan')
    return plan
  }

  async function findWritable(request: FastifyRequest): Promise<PlanOfBroker> {
    const plan = await find(request)
    if (!(await mayWriteCatalog(db, request, plan.offering.broker))) throw notAuthorized()
    return plan
  }

  /** As far as the caller may know of them. */
  async function organizationsOf(request: FastifyRequest, plan: PlanOfBroker) {
    const seen = await db.organization.findMany({
      where: { AND: [{ servicePlans: { some: { planGuid: plan.guid } } }, request.access.organizations()] },
      select: { guid: true, name: true },
      orderBy: { name: 'asc' },
    })
    return seen
  }

  async function present(plan: PlanOfBroker, organizations?: readonly { guid: string; name: string }[]) {
    const { spaceGuid } = plan.offering.broker
    const space =
      plan.visibilityType === 'space' && spaceGuid !== null
        ? await db.space.findUnique({ where: { guid: spaceGuid }, select: { guid: true, name: true } })
        : null
    return {
      type: plan.visibilityType,
      ...(space ? { space } : {}),
      ...(plan.visibilityType === 'organization' && organizations ? { organizations } : {}),
    }
  }
}

const record = (
  tx: Transaction,
  request: FastifyRequest,
  plan: PlanOfBroker,
  act: 'update' | 'delete',
  about: { organizationGuid?: string; request?: Visibility },
): Promise<void> =>
  recordAudit(tx, actorOf(request), {
    type: `audit.service_plan_visibility.${act}`,
    target: { type: 'service_plan_visibility', guid: plan.guid, name: '' },
    organizationGuid: about.organizationGuid ?? null,
    data: {
      request: about.request
        ? { type: about.request.type, ...(about.request.organizations ? { organizations: about.request.organizations } : {}) }
        : {},
    },
  })
