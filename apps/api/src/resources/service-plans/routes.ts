import type { FastifyInstance, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { recordAudit } from '../../http/audit.js'
import { parseBody } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { requireKnownFields } from '../../http/fields.js'
import { parseListQuery } from '../../http/lists.js'
import { applyMetadata, MetadataInput } from '../../http/metadata.js'
import { notAuthorized } from '../../http/permissions.js'
import { actorOf } from '../../jobs/routes.js'
import { includedOfPlans, LISTED_PARTS, listServicePlans, PLAN_FIELDS, PLAN_INCLUDES, type ListedPlan } from './list-plans.js'
import { mayWriteCatalog, plansSeenAtAll, requireOpenMarketplace } from './plan-access.js'
import { presentServicePlan } from './presenter.js'
import { planVisibilityRoutes } from './visibility-routes.js'

const UpdatePlan = z.strictObject({ metadata: MetadataInput.optional() })
interface ByGuid {
  Params: { guid: string }
}
const PATH = '/v3/service_plans/:guid'

/** What brokers offer, in its sizes: the marketplace. */
export function servicePlanRoutes(app: FastifyInstance, context: Context): void {
  const { db } = context
  planVisibilityRoutes(app, context)

  app.get('/v3/service_plans', { config: { permission: 'marketplace' } }, async (request) => {
    await requireOpenMarketplace(db, request)
    return listServicePlans(db, request)
  })

  app.get<ByGuid>(PATH, { config: { permission: 'marketplace' } }, async (request) => {
    await requireOpenMarketplace(db, request)
    const query = parseListQuery(request, { include: PLAN_INCLUDES, fields: Object.keys(PLAN_FIELDS), labels: false })
    requireKnownFields(query, PLAN_FIELDS)
    const plan = await find(request)
    const included = includedOfPlans(query, [plan], request.baseUrl)
    return { ...presentServicePlan(plan, request.baseUrl), ...(Object.keys(included).length > 0 ? { included } : {}) }
  })

  app.patch<ByGuid>(PATH, { config: { permission: 'space.develop' } }, async (request) => {
    const plan = await findWritable(request)
    const { metadata } = parseBody(UpdatePlan, request.body)
    const updated = await db.servicePlan.update({
      where: { guid: plan.guid },
      data: applyMetadata(plan, metadata),
      include: LISTED_PARTS,
    })
    return presentServicePlan(updated, request.baseUrl)
  })

  app.delete<ByGuid>(PATH, { config: { permission: 'space.develop' } }, async (request, reply) => {
    const plan = await findWritable(request)
    await db.$transaction(async (tx) => {
      if ((await tx.serviceInstance.count({ where: { planGuid: plan.guid } })) > 0)
        throw unprocessable('Please delete the service_instances associations for your service_plans.')
      await tx.servicePlan.delete({ where: { guid: plan.guid } })
      await recordAudit(tx, actorOf(request), {
        type: 'audit.service_plan.delete',
        target: { type: 'service_plan', guid: plan.guid, name: plan.name },
        spaceGuid: plan.offering.broker.spaceGuid,
        data: { request: {} },
      })
    })
    return reply.code(204).send()
  })

  async function find(request: FastifyRequest): Promise<ListedPlan> {
    const { guid } = request.params as ByGuid['Params']
    const plan = await db.servicePlan.findFirst({
      where: { AND: [{ guid }, plansSeenAtAll(request)] },
      include: LISTED_PARTS,
    })
    if (!plan) throw notFound('Service plan')
    return plan
  }

  async function findWritable(request: FastifyRequest): Promise<ListedPlan> {
    const plan = await find(request)
    if (!(await mayWriteCatalog(db, request, plan.offering.broker))) throw notAuthorized()
    return plan
  }
}
