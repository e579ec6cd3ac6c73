import { rows, sql, type Queryable } from '@bloomery/database/sql'

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
}

/** All routes of domains that routers serve, those without a destination too. */
export const listRoutes = (on: Queryable): Promise<RouteRow[]> =>
  rows<RouteRow>(
    on,
    sql`SELECT r.guid, r.host, d.name AS domain, r.path, r.port, r.protocol, r.options,
          coalesce((SELECT jsonb_agg(jsonb_build_object('appGuid', t.app_guid, 'appName', a.name, 'spaceGuid', a.space_guid,
              'organizationGuid', s.organization_guid, 'processType', t.process_type, 'port', t.port, 'weight', t.weight,
              'protocol', t.protocol) ORDER BY t.created_at, t.guid)
            FROM route_destinations t JOIN apps a ON a.guid = t.app_guid JOIN spaces s ON s.guid = a.space_guid
            WHERE t.route_guid = r.guid), '[]'::jsonb) AS destinations
        FROM routes r JOIN domains d ON d.guid = r.domain_guid WHERE NOT d.internal ORDER BY r.guid`,
  )
