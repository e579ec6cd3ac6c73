import type { FastifyRequest } from 'fastify'
import type { Database } from '@bloomery/database'
import { notFound } from '../../http/errors.js'
import type { SpaceRight } from '../../http/permissions.js'
import type { SpaceInOrganization } from '../spaces/find-space.js'
import { ROUTE_PARTS, type RouteWithDomain } from './presenter.js'

/** The route, if the caller has the right in its space: else 404 for what may not be seen, 403 for what may not be done. */
export async function findRoute(
  db: Database,
  request: FastifyRequest,
  guid: string,
  right: SpaceRight,
): Promise<RouteWithDomain & { space: SpaceInOrganization }> {
  const route = await db.route.findUnique({
    where: { guid },
    include: { ...ROUTE_PARTS, space: { include: { organization: true } } },
  })
  if (!route) throw notFound('Route')
  await request.access.requireInSpace(right, route.space, 'Route not found')
  return route
}
