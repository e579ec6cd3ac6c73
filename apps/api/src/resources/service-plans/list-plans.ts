import type { FastifyRequest } from 'fastify'
import type { Database, Prisma } from '@bloomery/database'
import { includedFields, requireKnownFields } from '../../http/fields.js'
import { parseListQuery, presentList, readPage, type ListQuery } from '../../http/lists.js'
import { presentOrganization } from '../organizations/presenter.js'
import { presentSpace } from '../spaces/presenter.js'
import { presentServiceOffering } from '../service-offerings/presenter.js'
import { plansUsableInOrganizations, plansUsableInSpaces, visiblePlans } from './plan-access.js'
import { presentServicePlan } from './presenter.js'

export const PLAN_INCLUDES = ['service_offering', 'space.organization'] as const
export const PLAN_FIELDS = { 'service_offering.service_broker': ['guid', 'name'] } as const
export const LISTED_PARTS = {
  offering: { include: { broker: { include: { space: { include: { organization: true } } } } } },
} as const satisfies Prisma.ServicePlanInclude
export type ListedPlan = Prisma.ServicePlanGetPayload<{ include: typeof LISTED_PARTS }>

export async function listServicePlans(db: Database, request: FastifyRequest) {
  const query = parseListQuery(request, {
    filters: [
      'names',
      'available',
      'broker_catalog_ids',
      'space_guids',
      'organization_guids',
      'service_broker_guids',
      'service_broker_names',
      'service_offering_guids',
      'service_offering_names',
      'service_instance_guids',
    ],
    orderBy: { name: 'name' },
    include: PLAN_INCLUDES,
    fields: Object.keys(PLAN_FIELDS),
  })
  requireKnownFields(query, PLAN_FIELDS)
  const among = (name: string, condition: (values: string[]) => Prisma.ServicePlanWhereInput): Prisma.ServicePlanWhereInput[] => {
    const values = query.values(name)
    return values ? [condition(values)] : []
  }
  const where: Prisma.ServicePlanWhereInput = {
    AND: [
      visiblePlans(request),
      ...query.common,
      ...among('names', (values) => ({ name: { in: values } })),
      ...among('available', ([value]) => ({ active: value === 'true' })),
      ...among('broker_catalog_ids', (values) => ({ catalogId: { in: values } })),
      ...among('space_guids', (values) => plansUsableInSpaces(request, values)),
      ...among('organization_guids', (values) => plansUsableInOrganizations(request, values)),
      ...among('service_broker_guids', (values) => ({ offering: { brokerGuid: { in: values } } })),
      ...among('service_broker_names', (values) => ({ offering: { broker: { name: { in: values } } } })),
      ...among('service_offering_guids', (values) => ({ offeringGuid: { in: values } })),
      ...among('service_offering_names', (values) => ({ offering: { name: { in: values } } })),
      ...among('service_instance_guids', (values) => ({ instances: { some: { guid: { in: values } } } })),
    ],
  }
  const page = await readPage(
    query,
    (window) => db.servicePlan.findMany({ where, orderBy: query.orderBy, include: LISTED_PARTS, ...window }),
    () => db.servicePlan.count({ where }),
  )
  return presentList(
    request,
    query,
    page,
    (plan) => presentServicePlan(plan, request.baseUrl),
    includedOfPlans(query, page.rows, request.baseUrl),
  )
}

/** Offerings, spaces with their organizations, and brokers of plans, each once, as far as they were asked for. */
export function includedOfPlans(
  query: ListQuery,
  plans: readonly ListedPlan[],
  baseUrl: string,
): Record<string, readonly unknown[]> {
  const offerings = unique(plans.map(({ offering }) => offering))
  const spaces = unique(offerings.flatMap(({ broker }) => broker.space ?? []))
  return {
    ...(query.includes.has('service_offering')
      ? { service_offerings: offerings.map((each) => presentServiceOffering(each, baseUrl)) }
      : {}),
    ...(query.includes.has('space.organization')
      ? {
          spaces: spaces.map((each) => presentSpace(each, baseUrl)),
          organizations: unique(spaces.map(({ organization }) => organization)).map((each) => presentOrganization(each, baseUrl)),
        }
      : {}),
    ...includedFields(query, 'service_offering.service_broker', 'service_brokers', () =>
      offerings.map(({ broker: { guid, name } }) => ({ guid, name })),
    ),
  }
}

const unique = <T extends { guid: string }>(rows: readonly T[]): T[] => [...new Map(rows.map((row) => [row.guid, row])).values()]
