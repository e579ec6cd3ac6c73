import type { FastifyInstance } from 'fastify'
import {
  explainRoute,
  hostCandidates,
  parseRequestAddress,
  RouteIndex,
  type ExplainedDestination,
  type RequestAddress,
} from '@bloomery/domain'
import { rows, sql, type Pool } from '@bloomery/database'
import type { Context } from '../../http/context.js'
import { unprocessable } from '../../http/errors.js'
import { isReservedHost } from '../domains/reserved-names.js'
import { routeUrl } from './presenter.js'

interface FoundRoute {
  readonly routeGuid: string
  readonly host: string
  readonly path: string
  readonly port: number
  readonly name: string
  readonly domain: string
  readonly protocol: string
  readonly options: unknown
  readonly spaceGuid: string
  readonly organizationGuid: string
  readonly routeServiceUrl: string | null
  readonly destinations: readonly (Omit<ExplainedDestination, 'instances'> & {
    readonly weight: number | null
    readonly protocol: string | null
    readonly port: number | null
    readonly instances: readonly (ExplainedDestination['instances'][number] & {
      readonly cell: string | null
      readonly detail: string | null
    })[]
  })[]
}
interface RouterRow {
  readonly id: string
  readonly feedEpoch: string
  readonly appliedRevision: string
  readonly lastSeenAt: Date
}
/** Routers tell of themselves every five seconds. */
const SILENT_AFTER_MS = 15_000

/** Where a request for an address would go and why, answered from the platform's tables by the routers' own rules. */
export function routeExplanationRoutes(app: FastifyInstance, { pool, settings, now }: Context): void {
  app.get('/bloomery/v1/routes/explanation', { config: { permission: 'authenticated' } }, async (request) => {
    const { address: text } = request.query as { address?: string }
    const address = parseRequestAddress(text ?? '')
    if (!address)
      throw unprocessable(`'${text ?? ''}' is no address: give address=HOST[:PORT][/PATH], e.g. shop.apps.example.com/cart.`)
    const routers = (await listRouters(pool)).map((router) => ({
      id: router.id,
      feed_epoch: router.feedEpoch,
      applied_revision: router.appliedRevision,
      last_seen_at: router.lastSeenAt.toISOString(),
      silent: now().getTime() - router.lastSeenAt.getTime() > SILENT_AFTER_MS,
    }))
    if (settings.apiHosts.has(address.host) || isReservedHost(settings, address.host))
      return {
        address,
        outcome: 'platform',
        status: null,
        sentence: `${address.host} is one of the platform's own names; the API answers there.`,
        next_step: null,
        route: null,
        considered: [],
        destinations: [],
        certificate: null,
        routers,
      }
    const found = await listCandidates(pool, address)
    const visible: FoundRoute[] = []
    for (const route of found)
      if (await request.access.hasInSpace('space.read', { guid: route.spaceGuid, organizationGuid: route.organizationGuid }))
        visible.push(route)
    const chosen = chooseAmong(found, address)
    if (chosen && !visible.includes(chosen))
      return {
        address,
        outcome: 'elsewhere',
        status: null,
        sentence: `${text ?? ''} belongs to a route of a space that you cannot see.`,
        next_step: 'Ask its owner, or choose another host or path for your own route.',
        route: null,
        considered: [],
        destinations: [],
        certificate: null,
        routers,
      }
    const verdict = explainRoute(
      text ?? '',
      chosen && { url: urlOf(chosen), routeServiceUrl: chosen.routeServiceUrl ?? undefined },
      chosen?.destinations ?? [],
    )
    return {
      address,
      outcome: verdict.outcome,
      status: verdict.status ?? null,
      sentence: verdict.sentence,
      next_step: verdict.nextStep ?? null,
      route: chosen
        ? {
            guid: chosen.routeGuid,
            url: urlOf(chosen),
            protocol: chosen.protocol,
            options: chosen.options,
            route_service_url: chosen.routeServiceUrl,
          }
        : null,
      considered: visible
        .filter((route) => route !== chosen)
        .map((route) => ({ url: urlOf(route), reason: whyNot(route, chosen, address) })),
      destinations: (chosen?.destinations ?? []).map((each) => ({
        app: { guid: each.appGuid, name: each.appName, state: each.appState },
        process_type: each.processType,
        port: each.port,
        weight: each.weight,
        protocol: each.protocol,
        instances: each.instances.map(({ index, state, routable, cell, detail }) => ({ index, state, routable, cell, detail })),
      })),
      certificate: chosen && chosen.port === 0 ? await certificateOf(pool, chosen.name) : null,
      routers,
    }
  })
}

/** What became of the certificate of a public authority for a name; null where none was asked for. */
async function certificateOf(pool: Pool, name: string): Promise<object | null> {
  const [found] = await rows<{ state: string; detail: string | null; nextAttemptAt: Date; notAfter: Date | null }>(
    pool,
    sql`SELECT o.state, o.detail, o.next_attempt_at AS "nextAttemptAt",
          (SELECT max(c.not_after) FROM ingress_certificates c WHERE c.source = 'acme' AND c.names = o.names) AS "notAfter"
        FROM acme_orders o WHERE o.names = ARRAY[${name}] ORDER BY o.updated_at DESC LIMIT 1`,
  )
  if (!found) return null
  const { state, detail, nextAttemptAt, notAfter } = found
  const next = state === 'failed' ? nextAttemptAt.toISOString() : null
  return { state, detail, next_attempt_at: next, not_after: notAfter?.toISOString() ?? null }
}

const urlOf = (route: FoundRoute): string =>
  routeUrl({ host: route.host, path: route.path, port: route.port }, { name: route.domain })

/** By the very index that routers use; where nothing serves the address, the route that would. */
function chooseAmong(routes: readonly FoundRoute[], { host, path, port }: RequestAddress): FoundRoute | undefined {
  const tcp = routes.filter((route) => route.port > 0 && route.port === port)
  // By server name before all others; the plain route of the port takes the rest.
  if (tcp.length > 0)
    return tcp.find((route) => route.host !== '' && route.name === host) ?? tcp.find((route) => route.host === '')
  const index = new RouteIndex<{
    routeGuid: string
    host: string
    path: string
    isServed: boolean
    route: FoundRoute
  }>()
  for (const route of routes)
    if (route.port === 0)
      index.set({
        routeGuid: route.routeGuid,
        host: route.name,
        path: route.path,
        isServed: route.destinations.some(({ instances }) =>
          instances.some(({ routable, state }) => routable && state === 'running'),
        ),
        route,
      })
  return index.findKnown(host, path === '' ? '/' : path)?.route
}

function whyNot(route: FoundRoute, chosen: FoundRoute | undefined, { path }: RequestAddress): string {
  if (route.path !== '' && !`${path.toLowerCase()}/`.startsWith(`${route.path.toLowerCase()}/`)) return 'its path does not match'
  const serves = route.destinations.some(({ instances }) => instances.some(({ routable }) => routable))
  if (!serves) return 'it has no instance that takes requests'
  return chosen && chosen.path.length > route.path.length ? 'another route has a longer path' : 'another route stands nearer'
}

const listRouters = (pool: Pool): Promise<RouterRow[]> =>
  rows<RouterRow>(
    pool,
    sql`SELECT id, feed_epoch::text AS "feedEpoch", applied_revision::text AS "appliedRevision", last_seen_at AS "lastSeenAt"
        FROM routers ORDER BY id`,
  )

function listCandidates(pool: Pool, { host, port }: RequestAddress): Promise<FoundRoute[]> {
  const name = sql`lower(CASE WHEN r.host = '' THEN d.name ELSE r.host || '.' || d.name END)`
  return rows<FoundRoute>(
    pool,
    sql`SELECT r.guid AS "routeGuid", r.host, r.path, r.port, ${name} AS name, d.name AS domain, r.protocol, r.options,
          r.space_guid AS "spaceGuid", s.organization_guid AS "organizationGuid",
          coalesce(b.route_service_url, i.route_service_url) AS "routeServiceUrl",
          coalesce((SELECT jsonb_agg(jsonb_build_object('appGuid', t.app_guid, 'appName', a.name, 'appState', a.state,
              'processType', t.process_type, 'wantedInstances', coalesce((SELECT sum(p.instances) FROM processes p
                WHERE p.app_guid = t.app_guid AND p.type = t.process_type AND a.state = 'STARTED'), 0), 'weight', t.weight, 'protocol', t.protocol, 'port', t.port, 'instances',
              coalesce((SELECT jsonb_agg(jsonb_build_object('appGuid', n.app_guid, 'processType', n.process_type, 'index', n.index,
                  'state', n.state, 'routable', n.routable AND n.endpoint IS NOT NULL, 'cell', n.cell_id,
                  'detail', coalesce(n.detail, n.placement_error, n.crash_reason)) ORDER BY n.index)
                FROM actual_instances n WHERE n.app_guid = t.app_guid AND n.process_type = t.process_type), '[]'::jsonb))
              ORDER BY t.created_at, t.guid)
            FROM route_destinations t JOIN apps a ON a.guid = t.app_guid WHERE t.route_guid = r.guid), '[]'::jsonb) AS destinations
        FROM routes r JOIN domains d ON d.guid = r.domain_guid JOIN spaces s ON s.guid = r.space_guid
          LEFT JOIN route_bindings b ON b.route_guid = r.guid
            AND NOT (b.last_operation->>'type' = 'create' AND b.last_operation->>'state' <> 'succeeded')
          LEFT JOIN service_instances i ON i.guid = b.service_instance_guid
        WHERE NOT d.internal AND ((r.port = 0 AND ${name} = ANY(${hostCandidates(host)}))
          OR (r.port > 0 AND r.port = ${port ?? -1} AND (r.host = '' OR ${name} = ${host})))
        ORDER BY length(r.path) DESC, r.guid`,
  )
}
