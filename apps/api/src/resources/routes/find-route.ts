import type { FastifyRequest } from 'fastify'
import type { Database } from '@bloomery/database'
import { notFound } from '../../http/errors.js'
import { notAuthorized, type SpaceRight } from '../../http/permissions.js'
import type { SpaceInOrganization } from '../spaces/find-space.js'
import { ROUTE_PARTS, type RouteWithDomain } from './presenter.js'

type FoundRoute = RouteWithDomain & { space: SpaceInOrganization }

/**
 * The route, if the caller has the right in its space: else 404 for what may not be seen, 403 for what may not be done. It is seen
 * from the spaces too with which it is shared.
 */
export async function findRoute(db: Database, request: FastifyRequest, guid: string, right: SpaceRight): Promise<FoundRoute> {
  const route = await readRoute(db, guid)
  if (right === 'space.read' && (await hasInSharing(db, request, route, 'space.read'))) return route
  await request.access.requireInSpace(right, route.space, 'Route not found')
  return route
}

/** The route, if the caller may change where it leads: all of it in its own space, apps of the shared space in another. */
export async function findMappableRoute(db: Database, request: FastifyRequest, guid: string): Promise<FoundRoute> {
  const route = await readRoute(db, guid)
  if (!(await hasInSharing(db, request, route, 'space.operate')))
    await request.access.requireInSpace('space.operate', route.space, 'Route not found')
  return route
}

/** Refuses destinations of apps that are neither in the route's space nor in a shared one of the caller's. */
export async function requireMappable(
  db: Database,
  request: FastifyRequest,
  route: FoundRoute,
  spaceGuids: readonly string[],
): Promise<void> {
  if (await request.access.hasInSpace('space.operate', route.space)) return
  const spaces = await db.space.findMany({ where: { guid: { in: [...spaceGuids] } }, include: { organization: true } })
  for (const space of spaces) {
    if (!route.sharings.some(({ spaceGuid }) => spaceGuid === space.guid)) throw notAuthorized()
    await request.access.requireInSpace('space.operate', space, 'Route not found')
  }
}

async function hasInSharing(db: Database, request: FastifyRequest, route: FoundRoute, right: SpaceRight): Promise<boolean> {
  if (route.sharings.length === 0 || (await request.access.hasInSpace(right, route.space))) return false
  const spaces = await db.space.findMany({ where: { sharedRoutes: { some: { routeGuid: route.guid } } } })
  for (const space of spaces) if (await request.access.hasInSpace(right, space)) return true
  return false
}

async function readRoute(db: Database, guid: string): Promise<FoundRoute> {
  const route = await db.route.findUnique({
    where: { guid },
    include: { ...ROUTE_PARTS, space: { include: { organization: true } } },
  })
  if (!route) throw notFound('Route')
  return route
}
