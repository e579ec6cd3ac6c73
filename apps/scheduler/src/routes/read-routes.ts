import { groupBy } from '@bloomery/domain'
import { rows, sql, type Queryable, type SqlQuery } from '@bloomery/database/sql'

/** A route as it is stored, with where it leads. */
export interface RouteRow {
  readonly guid: string
  readonly host: string
  readonly domain: string
  readonly path: string
  readonly port: number
  readonly protocol: string
  readonly options: Readonly<Record<string, unknown>>
  readonly destinations: readonly DestinationRow[]
  /** Where requests go first; null without a route service, or while it is being bound. */
  readonly routeServiceUrl: string | null
  /** Whether a global broker gave that address. */
  readonly routeServiceTrusted: boolean
}
export interface DestinationRow {
  readonly appGuid: string
  readonly appName: string
  readonly spaceGuid: string
  readonly organizationGuid: string
  readonly processType: string
  readonly port: number | null
  readonly weight: number | null
  readonly protocol: string | null
  /** Whether instances of it shall run. */
  readonly wanted: boolean
}

/** Routes of domains that routers serve, and that lead somewhere; restricted by a condition on r (routes). */
export async function listRoutes(on: Queryable, where: SqlQuery = sql`true`): Promise<RouteRow[]> {
  // Two flat lists: put together by the database, each route would cost it a query of its own.
  const destinations = await rows<DestinationRow & { routeGuid: string }>(
    on,
    sql`SELECT t.route_guid AS "routeGuid", t.app_guid AS "appGuid", a.name AS "appName", a.space_guid AS "spaceGuid",
          s.organization_guid AS "organizationGuid", t.process_type AS "processType", t.port, t.weight, t.protocol,
          (a.state = 'STARTED' AND EXISTS (SELECT 1 FROM processes p
            WHERE p.app_guid = t.app_guid AND p.type = t.process_type AND p.instances > 0)) AS wanted
        FROM route_destinations t JOIN routes r ON r.guid = t.route_guid JOIN apps a ON a.guid = t.app_guid
          JOIN spaces s ON s.guid = a.space_guid
        WHERE ${where} ORDER BY t.created_at, t.guid`,
  )
  const found = await rows<Omit<RouteRow, 'destinations'>>(
    on,
    sql`SELECT r.guid, r.host, d.name AS domain, r.path, r.port, r.protocol, r.options,
          coalesce(b.route_service_url, i.route_service_url) AS "routeServiceUrl",
          (i.plan_guid IS NOT NULL AND k.space_guid IS NULL AND k.guid IS NOT NULL) AS "routeServiceTrusted"
        FROM routes r JOIN domains d ON d.guid = r.domain_guid
          LEFT JOIN route_bindings b ON b.route_guid = r.guid
            AND NOT (b.last_operation->>'type' = 'create' AND b.last_operation->>'state' <> 'succeeded')
          LEFT JOIN service_instances i ON i.guid = b.service_instance_guid
          LEFT JOIN service_plans p ON p.guid = i.plan_guid
          LEFT JOIN service_offerings o ON o.guid = p.offering_guid
          LEFT JOIN service_brokers k ON k.guid = o.broker_guid
        WHERE NOT d.internal AND ${where} ORDER BY r.guid`,
  )
  const ofRoute = groupBy(destinations, ({ routeGuid }) => routeGuid)
  return found.flatMap((route) => {
    const leads = ofRoute.get(route.guid)
    return leads ? [{ ...route, destinations: leads }] : []
  })
}
