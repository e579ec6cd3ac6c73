import type { FastifyRequest } from 'fastify'
import type { Database, Prisma } from '@bloomery/database'
import { parseListQuery, presentList, readPage } from '../../http/lists.js'
import { presentRoute } from '../routes/presenter.js'
import { presentServiceInstance } from '../service-instances/presenter.js'
import { ROUTE_BINDING_PARTS, type RouteBindingParts } from './binding-parts.js'
import { presentRouteBinding } from './presenter.js'

export const ROUTE_BINDING_INCLUDES = ['route', 'service_instance'] as const

export async function listRouteBindings(db: Database, request: FastifyRequest) {
  const query = parseListQuery(request, {
    filters: ['route_guids', 'service_instance_guids', 'service_instance_names'],
    include: ROUTE_BINDING_INCLUDES,
  })
  const among = (
    name: string,
    condition: (values: string[]) => Prisma.RouteBindingWhereInput,
  ): Prisma.RouteBindingWhereInput[] => {
    const values = query.values(name)
    return values ? [condition(values)] : []
  }
  const where: Prisma.RouteBindingWhereInput = {
    AND: [
      request.access.isGlobalReader ? {} : { route: { space: request.access.spaces() } },
      ...query.common,
      ...among('route_guids', (values) => ({ routeGuid: { in: values } })),
      ...among('service_instance_guids', (values) => ({ serviceInstanceGuid: { in: values } })),
      ...among('service_instance_names', (values) => ({ serviceInstance: { name: { in: values } } })),
    ],
  }
  const page = await readPage(
    query,
    (window) => db.routeBinding.findMany({ where, orderBy: query.orderBy, include: ROUTE_BINDING_PARTS, ...window }),
    () => db.routeBinding.count({ where }),
  )
  return presentList(
    request,
    query,
    page,
    (binding) => presentRouteBinding(binding, request.baseUrl),
    includedOf(query.includes, page.rows, request.baseUrl),
  )
}

/** The routes and instances of bindings, each once, as far as they were asked for. */
export function includedOf(
  names: ReadonlySet<string>,
  bindings: readonly RouteBindingParts[],
  baseUrl: string,
): Record<string, readonly unknown[]> {
  const instances = new Map(bindings.map(({ serviceInstance }) => [serviceInstance.guid, serviceInstance]))
  return {
    ...(names.has('route') ? { routes: bindings.map(({ route }) => presentRoute(route, baseUrl)) } : {}),
    ...(names.has('service_instance')
      ? { service_instances: [...instances.values()].map((each) => presentServiceInstance(each, baseUrl)) }
      : {}),
  }
}
