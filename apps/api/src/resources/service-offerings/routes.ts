import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Prisma } from '@bloomery/database'
import { z } from 'zod'
import { recordAudit } from '../../http/audit.js'
import { parseBody } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { includedFields, requireKnownFields } from '../../http/fields.js'
import { parseListQuery, presentList, readPage } from '../../http/lists.js'
import { applyMetadata, MetadataInput } from '../../http/metadata.js'
import { notAuthorized } from '../../http/permissions.js'
import { actorOf } from '../../jobs/routes.js'
import { purgeServiceInstance } from '../service-instances/purge-service-instance.js'
import {
  mayWriteCatalog,
  plansSeenAtAll,
  plansUsableInOrganizations,
  plansUsableInSpaces,
  requireOpenMarketplace,
  visiblePlans,
} from '../service-plans/plan-access.js'
import { presentServiceOffering } from './presenter.js'

const UpdateOffering = z.strictObject({ metadata: MetadataInput.optional() })
const FIELDS = { service_broker: ['guid', 'name'] } as const
const PARTS = { broker: true } as const
type OfferingOfBroker = Prisma.ServiceOfferingGetPayload<{ include: typeof PARTS }>
interface ByGuid {
  Params: { guid: string }
}
const PATH = '/v3/service_offerings/:guid'

/** What brokers offer; an offering is seen by whoever sees one of its plans. */
export function serviceOfferingRoutes(app: FastifyInstance, context: Context): void {
  const { db } = context

  app.get('/v3/service_offerings', { config: { permission: 'marketplace' } }, async (request) => {
    await requireOpenMarketplace(db, request)
    const query = parseListQuery(request, {
      filters: [
        'names',
        'available',
        'broker_catalog_ids',
        'service_broker_guids',
        'service_broker_names',
        'space_guids',
        'organization_guids',
      ],
      orderBy: { name: 'name' },
      fields: Object.keys(FIELDS),
    })
    requireKnownFields(query, FIELDS)
    const among = (
      name: string,
      condition: (values: string[]) => Prisma.ServiceOfferingWhereInput,
    ): Prisma.ServiceOfferingWhereInput[] => {
      const values = query.values(name)
      return values ? [condition(values)] : []
    }
    const where: Prisma.ServiceOfferingWhereInput = {
      AND: [
        withPlans(visiblePlans(request)),
        ...query.common,
        ...among('names', (values) => ({ name: { in: values } })),
        ...among('available', ([value]) => ({ available: value === 'true' })),
        ...among('broker_catalog_ids', (values) => ({ catalogId: { in: values } })),
        ...among('service_broker_guids', (values) => ({ brokerGuid: { in: values } })),
        ...among('service_broker_names', (values) => ({ broker: { name: { in: values } } })),
        ...among('space_guids', (values) => ({ plans: { some: plansUsableInSpaces(request, values) } })),
        ...among('organization_guids', (values) => ({ plans: { some: plansUsableInOrganizations(request, values) } })),
      ],
    }
    const page = await readPage(
      query,
      (window) => db.serviceOffering.findMany({ where, orderBy: query.orderBy, include: PARTS, ...window }),
      () => db.serviceOffering.count({ where }),
    )
    return presentList(
      request,
      query,
      page,
      (offering) => presentServiceOffering(offering, request.baseUrl),
      includedFields(query, 'service_broker', 'service_brokers', () =>
        page.rows.map(({ broker: { guid, name } }) => ({ guid, name })),
      ),
    )
  })

  app.get<ByGuid>(PATH, { config: { permission: 'marketplace' } }, async (request) => {
    await requireOpenMarketplace(db, request)
    const query = parseListQuery(request, { fields: Object.keys(FIELDS), labels: false })
    requireKnownFields(query, FIELDS)
    const offering = await find(request)
    const { guid, name } = offering.broker
    const included = includedFields(query, 'service_broker', 'service_brokers', () => [{ guid, name }])
    return {
      ...presentServiceOffering(offering, request.baseUrl),
      ...(Object.keys(included).length > 0 ? { included } : {}),
    }
  })

  app.patch<ByGuid>(PATH, { config: { permission: 'space.develop' } }, async (request) => {
    const offering = await findWritable(request)
    const { metadata } = parseBody(UpdateOffering, request.body)
    const updated = await db.serviceOffering.update({
      where: { guid: offering.guid },
      data: applyMetadata(offering, metadata),
    })
    return presentServiceOffering(updated, request.baseUrl)
  })

  app.delete<ByGuid>(PATH, { config: { permission: 'space.develop' } }, async (request, reply) => {
    const offering = await findWritable(request)
    const purge = (request.query as { purge?: string }).purge === 'true'
    await db.$transaction(
      async (tx) => {
        const instances = await tx.serviceInstance.findMany({
          where: { plan: { offeringGuid: offering.guid } },
          select: { guid: true },
        })
        if (purge) for (const { guid } of instances) await purgeServiceInstance(tx, context, actorOf(request), guid)
        else if ((await tx.servicePlan.count({ where: { offeringGuid: offering.guid } })) > 0)
          throw unprocessable('Please delete the service_plans associations for your services.')
        await tx.serviceOffering.delete({ where: { guid: offering.guid } })
        await recordAudit(tx, actorOf(request), {
          type: 'audit.service.delete',
          target: { type: 'service', guid: offering.guid, name: offering.name },
          spaceGuid: offering.broker.spaceGuid,
          data: { request: purge ? { purge: true } : {} },
        })
      },
      { timeout: 60_000 },
    )
    return reply.code(204).send()
  })

  async function find(request: FastifyRequest): Promise<OfferingOfBroker> {
    const { guid } = request.params as ByGuid['Params']
    const offering = await db.serviceOffering.findFirst({
      where: {
        AND: [{ guid }, withPlans(plansSeenAtAll(request))],
      },
      include: PARTS,
    })
    if (!offering) throw notFound('Service offering')
    return offering
  }

  async function findWritable(request: FastifyRequest): Promise<OfferingOfBroker> {
    const offering = await find(request)
    if (!(await mayWriteCatalog(db, request, offering.broker))) throw notAuthorized()
    return offering
  }
}

/** No condition on plans is none on offerings: those that lost all plans are still the operator's. */
const withPlans = (plans: Prisma.ServicePlanWhereInput): Prisma.ServiceOfferingWhereInput =>
  Object.keys(plans).length === 0 ? {} : { plans: { some: plans } }
