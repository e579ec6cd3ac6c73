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
export const listRoutes = (on: Queryable, where: SqlQuery = sql`true`): Promise<RouteRow[]> =>
  rows<RouteRow>(
    on,
    sql`SELECT r.guid, r.host, d.name AS domain, r.path, r.port, r.protocol, r.options,
          coalesce((SELECT jsonb_agg(jsonb_build_object('appGuid', t.app_guid, 'appName', a.name, 'spaceGuid', a.space_guid,
              'organizationGuid', s.organization_guid, 'processType', t.process_type, 'port', t.port, 'weight', t.weight,
              'protocol', t.protocol, 'wanted', a.state = 'STARTED' AND EXISTS (SELECT 1 FROM processes p
                WHERE p.app_guid = t.app_guid AND p.type = t.process_type AND p.instances > 0)) ORDER BY t.created_at, t.guid)
            FROM route_destinations t JOIN apps a ON a.guid = t.app_guid JOIN spaces s ON s.guid = a.space_guid
            WHERE t.route_guid = r.guid), '[]'::jsonb) AS destinations,
          coalesce(b.route_service_url, i.route_service_url) AS "routeServiceUrl",
          (i.plan_guid IS NOT NULL AND k.space_guid IS NULL AND k.guid IS NOT NULL) AS "routeServiceTrusted"
        FROM routes r JOIN domains d ON d.guid = r.domain_guid
          LEFT JOIN route_bindings b ON b.route_guid = r.guid
            AND NOT (b.last_operation->>'type' = 'create' AND b.last_operation->>'state' <> 'succeeded')
          LEFT JOIN service_instances i ON i.guid = b.service_instance_guid
          LEFT JOIN service_plans p ON p.guid = i.plan_guid
          LEFT JOIN service_offerings o ON o.guid = p.offering_guid
          LEFT JOIN service_brokers k ON k.guid = o.broker_guid
        WHERE NOT d.internal AND EXISTS (SELECT 1 FROM route_destinations t WHERE t.route_guid = r.guid) AND ${where} ORDER BY r.guid`,
  )
