import type { FastifyInstance, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { recordAudit } from '../../http/audit.js'
import { parseBody, ToMany, ToOne } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { requireFeature } from '../../http/feature-flags.js'
import { actorOf } from '../../jobs/routes.js'
import { isDomainUsableBy } from '../domains/domain-usability.js'
import type { SpaceInOrganization } from '../spaces/find-space.js'
import { removeDestination } from './destinations.js'
import { findRoute } from './find-route.js'
import { routeUrl, type RouteWithDomain } from './presenter.js'
import { requireRouteQuota } from './route-quota.js'

interface ByGuid {
  Params: { guid: string }
}
interface BySharing {
  Params: { guid: string; space: string }
}
const SHARED = '/v3/routes/:guid/relationships/shared_spaces'
const Guids = ToMany.extend({ data: z.array(z.object({ guid: z.string() })).min(1, 'must name at least one space') })

/** Routes that lead to apps of several spaces, and their move to another space. */
export function routeSharingRoutes(app: FastifyInstance, context: Context): void {
  const { db, nudges } = context
  const present = async (request: FastifyRequest, guid: string) => {
    const sharings = await db.routeSharing.findMany({ where: { routeGuid: guid }, orderBy: { spaceGuid: 'asc' } })
    return {
      data: sharings.map(({ spaceGuid }) => ({ guid: spaceGuid })),
      links: { self: { href: `${request.baseUrl}/v3/routes/${guid}/relationships/shared_spaces` } },
    }
  }

  app.get<ByGuid>(SHARED, { config: { permission: 'space.read' } }, async (request) => {
    const { guid } = await findRoute(db, request, request.params.guid, 'space.read')
    await requireFeature(db, 'route_sharing')
    return present(request, guid)
  })

  app.post<ByGuid>(SHARED, { config: { permission: 'space.operate' } }, async (request) => {
    const route = await findRoute(db, request, request.params.guid, 'space.operate')
    await requireFeature(db, 'route_sharing')
    const guids = [...new Set(parseBody(Guids, request.body).data.map(({ guid }) => guid))]
    const url = routeUrl(route, route.domain)
    await refuseUnreachable(request, guids, url)
    if (guids.includes(route.spaceGuid))
      throw unprocessable(
        `Unable to share route '${url}' with space '${route.spaceGuid}'. Routes cannot be shared into the space where they were created.`,
      )
    await db.$transaction(async (tx) => {
      await tx.routeSharing.createMany({
        data: guids.map((spaceGuid) => ({ routeGuid: route.guid, spaceGuid })),
        skipDuplicates: true,
      })
      await recordAudit(tx, actorOf(request), { ...aboutRoute(route, 'share'), data: { target_space_guids: guids } })
    })
    return present(request, route.guid)
  })

  app.delete<BySharing>(`${SHARED}/:space`, { config: { permission: 'space.operate' } }, async (request, reply) => {
    const route = await findRoute(db, request, request.params.guid, 'space.operate')
    await requireFeature(db, 'route_sharing')
    const url = routeUrl(route, route.domain)
    const { space: guid } = request.params
    const target = await findTarget(request, guid, `Unable to unshare route '${url}' from space '${guid}'.`)
    if (target.guid === route.spaceGuid)
      throw unprocessable(
        `Unable to unshare route '${url}' from space '${guid}'. Routes cannot be removed from the space that owns them.`,
      )
    await db.$transaction(async (tx) => {
      await tx.$executeRaw`SELECT 1 FROM routes WHERE guid = ${route.guid} FOR NO KEY UPDATE`
      await tx.routeSharing.deleteMany({ where: { routeGuid: route.guid, spaceGuid: guid } })
      // Apps of that space are not the route's any more.
      const lost = await tx.routeDestination.findMany({ where: { routeGuid: route.guid, app: { spaceGuid: guid } } })
      for (const destination of lost) await removeDestination(tx, actorOf(request), route, destination)
      await recordAudit(tx, actorOf(request), { ...aboutRoute(route, 'unshare'), data: { target_space_guid: guid } })
    })
    nudges.send({ topic: 'scheduler' })
    return reply.code(204).send()
  })

  app.patch<ByGuid>(
    '/v3/routes/:guid/relationships/space',
    { config: { permission: 'space.operate' } },
    async (request, reply) => {
      const route = await findRoute(db, request, request.params.guid, 'space.operate')
      await requireFeature(db, 'route_sharing')
      const { guid } = parseBody(ToOne, request.body).data
      const failed = `Unable to transfer owner of route '${routeUrl(route, route.domain)}' to space '${guid}'.`
      const target = await findTarget(request, guid, failed)
      await db.$transaction(async (tx) => {
        if (!(await isDomainUsableBy(tx, route.domain, target.organizationGuid)))
          throw unprocessable(`${failed} Target space does not have access to route's domain`)
        await tx.$executeRaw`SELECT 1 FROM routes WHERE guid = ${route.guid} FOR NO KEY UPDATE`
        const present = await tx.route.findUnique({ where: { guid: route.guid } })
        if (!present) throw notFound('Route')
        if (present.spaceGuid === guid) return
        await requireRouteQuota(tx, target, present.port > 0 ? { routes: 1, reservedPorts: 1 } : { routes: 1 })
        await tx.route.update({ where: { guid: route.guid }, data: { spaceGuid: guid } })
        // The apps of the space that had it stay reachable.
        await tx.routeSharing.deleteMany({ where: { routeGuid: route.guid, spaceGuid: guid } })
        await tx.routeSharing.createMany({
          data: [{ routeGuid: route.guid, spaceGuid: present.spaceGuid }],
          skipDuplicates: true,
        })
        await recordAudit(tx, actorOf(request), {
          ...aboutRoute(route, 'transfer-owner'),
          data: { original_space_guid: present.spaceGuid, target_space_guid: guid },
        })
      })
      return reply.code(204).send()
    },
  )

  /** The space, if the caller may work in it. */
  async function findTarget(request: FastifyRequest, guid: string, failed: string): Promise<SpaceInOrganization> {
    const space = await db.space.findUnique({ where: { guid }, include: { organization: true } })
    if (!space || !(await request.access.hasInSpace('space.read', space)))
      throw unprocessable(`${failed} Ensure the space exists and that you have access to it.`)
    if (!(await request.access.hasInSpace('space.operate', space)))
      throw unprocessable(`${failed} You don't have write permission for the target space.`)
    if (space.organization.suspended && !request.access.isAdmin)
      throw unprocessable(`${failed} The target organization is suspended.`)
    return space
  }

  async function refuseUnreachable(request: FastifyRequest, guids: readonly string[], url: string): Promise<void> {
    const found = await db.space.findMany({ where: { guid: { in: [...guids] } }, include: { organization: true } })
    const hidden = guids.filter((guid) => !found.some((space) => space.guid === guid))
    const closed: string[] = []
    for (const space of found) {
      if (!(await request.access.hasInSpace('space.read', space))) hidden.push(space.guid)
      else if (
        !(await request.access.hasInSpace('space.operate', space)) ||
        (space.organization.suspended && !request.access.isAdmin)
      )
        closed.push(space.guid)
    }
    const share = (spaces: readonly string[]) => `Unable to share route ${url} with spaces ['${spaces.join("', '")}'].`
    const faults = [
      ...(hidden.length > 0 ? [`${share(hidden)} Ensure the spaces exist and that you have access to them.`] : []),
      ...(closed.length > 0
        ? [
            `${share(closed)} Write permission is required in order to share a route with a space and the containing organization must not be suspended.`,
          ]
        : []),
    ]
    if (faults.length > 0) throw unprocessable(faults.join('\n'))
  }
}

const aboutRoute = (
  route: RouteWithDomain & { space: SpaceInOrganization },
  what: 'share' | 'unshare' | 'transfer-owner',
): { type: string; target: { type: string; guid: string; name: string }; spaceGuid: string; organizationGuid: string } => ({
  type: `audit.route.${what}`,
  target: { type: 'route', guid: route.guid, name: route.host },
  spaceGuid: route.spaceGuid,
  organizationGuid: route.space.organizationGuid,
})
