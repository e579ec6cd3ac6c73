import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Prisma, Route } from '@bloomery/database'
import { z } from 'zod'
import { recordAudit } from '../../http/audit.js'
import { Integer, parseBody, ToOne } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { isFeatureEnabled, requireFeature } from '../../http/feature-flags.js'
import { parseListQuery, presentList, readPage, type ListQuery } from '../../http/lists.js'
import { applyMetadata, MetadataInput } from '../../http/metadata.js'
import { notAuthorized } from '../../http/permissions.js'
import { accept, actorOf } from '../../jobs/routes.js'
import { presentDomain } from '../domains/presenter.js'
import { presentOrganization } from '../organizations/presenter.js'
import { presentSpace } from '../spaces/presenter.js'
import { createRoute } from './create-route.js'
import { deleteRoutes } from './delete-routes.js'
import { findRoute } from './find-route.js'
import { presentRoute, ROUTE_PARTS } from './presenter.js'
import { choosesByServerName, mergeRouteOptions, RouteOptionsInput, type RouteOptions } from './route-options.js'

const CreateRoute = z.strictObject({
  host: z
    .string('must be a string')
    .max(63, 'is too long (maximum is 63 characters)')
    .regex(/^(?:[\w-]+|\*)?$/, 'must be either "*" or contain only alphanumeric characters, "_", or "-"')
    .nullish(),
  path: z
    .string('must be a string')
    .max(128, 'is too long (maximum is 128 characters)')
    .regex(/^(?:\/.*)?$/, 'must begin with /')
    .regex(/^[^?]*$/, 'cannot contain ?')
    .refine((path) => path !== '/', 'cannot be exactly /')
    .nullish(),
  port: Integer.pipe(
    z.number().min(0, 'must be greater than or equal to 0').max(65_535, 'must be less than or equal to 65535'),
  ).nullish(),
  relationships: z.strictObject({ space: ToOne, domain: ToOne }),
  options: RouteOptionsInput.nullish(),
  metadata: MetadataInput.optional(),
})
const UpdateRoute = z.strictObject({ options: RouteOptionsInput.optional(), metadata: MetadataInput.optional() })
const DeleteRouteParams = z.object({ guid: z.string() })
const INCLUDES = ['domain', 'space', 'space.organization'] as const
interface ByGuid {
  Params: { guid: string }
}

export function routeRoutes(app: FastifyInstance, context: Context): void {
  const { db } = context

  const list = async (request: FastifyRequest, query: ListQuery, own: Prisma.RouteWhereInput) => {
    const where: Prisma.RouteWhereInput = {
      AND: [
        request.access.isGlobalReader
          ? {}
          : { OR: [{ space: request.access.spaces() }, { sharings: { some: { space: request.access.spaces() } } }] },
        own,
        ...(query.common as Prisma.RouteWhereInput[]),
        ...filtersOf(query),
      ],
    }
    const page = await readPage(
      query,
      (window) =>
        db.route.findMany({
          where,
          orderBy: query.orderBy,
          include: { ...ROUTE_PARTS, space: { include: { organization: true } } },
          ...window,
        }),
      () => db.route.count({ where }),
    )
    const { baseUrl } = request
    const spaces = new Map(page.rows.map(({ space }) => [space.guid, space]))
    const organizations = new Map(page.rows.map(({ space }) => [space.organizationGuid, space.organization]))
    const domains = new Map(page.rows.map(({ domain }) => [domain.guid, domain]))
    return presentList(request, query, page, (route) => presentRoute(route, baseUrl), {
      ...(query.includes.has('domain')
        ? { domains: [...domains.values()].map((each) => presentDomain({ ...each, sharings: [] }, baseUrl)) }
        : {}),
      ...(query.includes.has('space') || query.includes.has('space.organization')
        ? { spaces: [...spaces.values()].map((each) => presentSpace(each, baseUrl)) }
        : {}),
      ...(query.includes.has('space.organization')
        ? { organizations: [...organizations.values()].map((each) => presentOrganization(each, baseUrl)) }
        : {}),
    })
  }
  const FILTERS = ['hosts', 'paths', 'ports', 'domain_guids', 'space_guids', 'organization_guids', 'service_instance_guids']

  app.get('/v3/routes', { config: { permission: 'authenticated' } }, async (request) =>
    list(request, parseListQuery(request, { filters: [...FILTERS, 'app_guids'], include: INCLUDES }), {}),
  )

  app.get<ByGuid>('/v3/apps/:guid/routes', { config: { permission: 'space.read' } }, async (request) => {
    const found = await db.app.findUnique({ where: { guid: request.params.guid }, include: { space: true } })
    if (!found) throw notFound('App')
    await request.access.requireInSpace('space.read', found.space, 'App not found')
    return list(request, parseListQuery(request, { filters: FILTERS }), { destinations: { some: { appGuid: found.guid } } })
  })

  app.get<ByGuid>('/v3/routes/:guid', { config: { permission: 'space.read' } }, async (request) => {
    const query = parseListQuery(request, { include: INCLUDES, labels: false })
    const route = await findRoute(db, request, request.params.guid, 'space.read')
    const { baseUrl } = request
    const included = {
      ...(query.includes.has('domain') ? { domains: [presentDomain({ ...route.domain, sharings: [] }, baseUrl)] } : {}),
      ...(query.includes.has('space') || query.includes.has('space.organization')
        ? { spaces: [presentSpace(route.space, baseUrl)] }
        : {}),
      ...(query.includes.has('space.organization')
        ? { organizations: [presentOrganization(route.space.organization, baseUrl)] }
        : {}),
    }
    return { ...presentRoute(route, baseUrl), ...(query.includes.size > 0 ? { included } : {}) }
  })

  app.post('/v3/routes', { config: { permission: 'space.operate' } }, async (request, reply) => {
    if (!request.access.isAdmin) await requireFeature(db, 'route_creation')
    const input = parseBody(CreateRoute, request.body)
    const { space: inSpace, domain: ofDomain } = input.relationships
    const [space, domain, hashRouting] = await Promise.all([
      db.space.findUnique({ where: { guid: inSpace.data.guid }, include: { organization: true } }),
      db.domain.findUnique({ where: { guid: ofDomain.data.guid } }),
      isFeatureEnabled(db, 'hash_based_routing'),
    ])
    if (!space || !(await request.access.hasInSpace('space.read', space)))
      throw unprocessable('Invalid space. Ensure that the space exists and you have access to it.')
    if (!domain) throw unprocessable('Invalid domain. Ensure that the domain exists and you have access to it.')
    await request.access.requireInSpace('space.operate', space, 'Space not found')
    const options = mergeRouteOptions({}, input.options ?? undefined, { hashRouting, tcp: domain.routerGroupGuid !== null })
    const guid = await db.$transaction(async (tx) => {
      const { guid: created } = await createRoute(
        tx,
        context,
        { actor: actorOf(request) },
        {
          space,
          domain,
          host: input.host ?? undefined,
          path: input.path ?? undefined,
          port: input.port ?? undefined,
          options,
          metadata: applyMetadata(undefined, input.metadata),
        },
      )
      return created
    })
    context.nudges.send({ topic: 'scheduler' })
    const route = await db.route.findUniqueOrThrow({ where: { guid }, include: ROUTE_PARTS })
    return reply.code(201).send(presentRoute(route, request.baseUrl))
  })

  app.patch<ByGuid>('/v3/routes/:guid', { config: { permission: 'space.operate' } }, async (request) => {
    const route = await findRoute(db, request, request.params.guid, 'space.operate')
    const input = parseBody(UpdateRoute, request.body)
    const hashRouting = await isFeatureEnabled(db, 'hash_based_routing')
    const updated = await db.$transaction(async (tx) => {
      await tx.$executeRaw`SELECT 1 FROM routes WHERE guid = ${route.guid} FOR NO KEY UPDATE`
      const present = await tx.route.findUnique({ where: { guid: route.guid } })
      if (!present) throw notFound('Route')
      await recordAudit(tx, actorOf(request), {
        type: 'audit.route.update',
        target: { type: 'route', guid: route.guid, name: route.host },
        spaceGuid: route.spaceGuid,
        organizationGuid: route.space.organizationGuid,
        data: { request: { ...(input.options ? { options: input.options } : {}) } },
      })
      return tx.route.update({
        where: { guid: route.guid },
        data: {
          ...(input.options === undefined ? {} : { options: changedOptions(present, input.options, hashRouting) }),
          ...applyMetadata(present, input.metadata),
        },
        include: ROUTE_PARTS,
      })
    })
    context.nudges.send({ topic: 'scheduler' })
    return presentRoute(updated, request.baseUrl)
  })

  context.jobs.register('route.delete', DeleteRouteParams, (job) => deleteRoutes(context, { guid: job.params.guid }, job.actor))
  app.delete<ByGuid>('/v3/routes/:guid', { config: { permission: 'space.operate' } }, async (request, reply) => {
    const route = await findRoute(db, request, request.params.guid, 'space.operate')
    if (!(await request.access.hasInSpace('space.operate', route.space))) throw notAuthorized()
    return accept(context, request, reply, {
      operation: 'route.delete',
      params: { guid: route.guid },
      resourceType: 'routes',
      resourceGuid: route.guid,
    })
  })
}

/** Whether a TCP route is for one server name is settled when it is made: its host depends on it. */
function changedOptions(route: Route, change: RouteOptionsInput, hashRouting: boolean): RouteOptions {
  const options = mergeRouteOptions(route.options, change, { hashRouting, tcp: route.port > 0 })
  if (choosesByServerName(options) !== (route.port > 0 && route.host !== ''))
    throw unprocessable("The option 'sni' cannot be changed; delete the route and create it anew.")
  return options
}

/** An empty value is a value: `hosts=` finds routes without a host, never all of them. */
function filtersOf(query: ListQuery): Prisma.RouteWhereInput[] {
  const conditions: Prisma.RouteWhereInput[] = []
  const add = (name: string, condition: (values: string[]) => Prisma.RouteWhereInput): void => {
    const values = query.values(name)
    if (values) conditions.push(condition(values))
  }
  add('hosts', (values) => ({ host: { in: values.map((host) => host.toLowerCase()) } }))
  add('paths', (values) => ({ path: { in: values } }))
  // No route has the port 0 or an unreadable one.
  add('ports', (values) => ({ port: { in: values.map(Number).filter((port) => Number.isInteger(port) && port > 0) } }))
  add('domain_guids', (values) => ({ domainGuid: { in: values } }))
  add('space_guids', (values) => ({ spaceGuid: { in: values } }))
  add('organization_guids', (values) => ({ space: { organizationGuid: { in: values } } }))
  add('app_guids', (values) => ({ destinations: { some: { appGuid: { in: values } } } }))
  // Route services are not bound here, so no route has one.
  add('service_instance_guids', () => ({ guid: { in: [] } }))
  return conditions
}
