import type { FastifyRequest } from 'fastify'
import type { Database, Prisma } from '@bloomery/database'
import { parseListQuery, presentList, readPage } from '../../http/lists.js'
import { INSTANCE_PARTS } from './find-service-instance.js'
import { INSTANCE_FIELDS, includedFields } from './included-fields.js'
import { presentServiceInstance } from './presenter.js'

export async function listServiceInstances(db: Database, request: FastifyRequest) {
  const query = parseListQuery(request, {
    filters: ['names', 'type', 'space_guids', 'organization_guids', 'service_plan_guids', 'service_plan_names'],
    orderBy: { name: 'name' },
    fields: INSTANCE_FIELDS,
  })
  const among = (
    name: string,
    condition: (values: string[]) => Prisma.ServiceInstanceWhereInput,
  ): Prisma.ServiceInstanceWhereInput[] => {
    const values = query.values(name)
    return values ? [condition(values)] : []
  }
  /** Of home and shared spaces alike. */
  const inSpace = (space: Prisma.SpaceWhereInput): Prisma.ServiceInstanceWhereInput => ({
    OR: [{ space }, { sharings: { some: { space } } }],
  })
  const where: Prisma.ServiceInstanceWhereInput = {
    AND: [
      request.access.isGlobalReader ? {} : inSpace(request.access.spaces()),
      ...query.common,
      ...among('names', (values) => ({ name: { in: values } })),
      ...among('type', (values) => ({ type: { in: values } })),
      ...among('space_guids', (values) => inSpace({ guid: { in: values } })),
      ...among('organization_guids', (values) => ({ space: { organizationGuid: { in: values } } })),
      ...among('service_plan_guids', (values) => ({ planGuid: { in: values } })),
      ...among('service_plan_names', (values) => ({ plan: { name: { in: values } } })),
    ],
  }
  const page = await readPage(
    query,
    (window) => db.serviceInstance.findMany({ where, orderBy: query.orderBy, include: INSTANCE_PARTS, ...window }),
    () => db.serviceInstance.count({ where }),
  )
  return presentList(
    request,
    query,
    page,
    (instance) => presentServiceInstance(instance, request.baseUrl),
    includedFields(query, page.rows),
  )
}
