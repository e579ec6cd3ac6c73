import { rows, sql, type Pool } from '@bloomery/database'

/** What the whole platform, an organization, or one space of it uses now. Stopped apps count no instances and no memory. */
export async function usageOfSpaces(
  pool: Pool,
  { organizationGuid, spaceGuid }: { organizationGuid?: string; spaceGuid?: string },
): Promise<UsageSummary> {
  const everywhere = sql`TRUE`
  const inScope =
    spaceGuid !== undefined
      ? sql`s.guid = ${spaceGuid}`
      : organizationGuid !== undefined
        ? sql`s.organization_guid = ${organizationGuid}`
        : everywhere
  const owned = organizationGuid === undefined ? everywhere : sql`d.organization_guid = ${organizationGuid}`
  const [row] = await rows<UsageSummary>(
    pool,
    sql`SELECT
          (SELECT COALESCE(sum(p.instances), 0)::int FROM processes p JOIN apps a ON a.guid = p.app_guid
             JOIN spaces s ON s.guid = a.space_guid WHERE a.state = 'STARTED' AND ${inScope}) AS started_instances,
          (SELECT COALESCE(sum(p.instances * p.memory_mb), 0)::int FROM processes p JOIN apps a ON a.guid = p.app_guid
             JOIN spaces s ON s.guid = a.space_guid WHERE a.state = 'STARTED' AND ${inScope}) AS memory_in_mb,
          (SELECT count(*)::int FROM routes r JOIN spaces s ON s.guid = r.space_guid WHERE ${inScope}) AS routes,
          (SELECT count(*)::int FROM service_instances i JOIN spaces s ON s.guid = i.space_guid
             WHERE i.type = 'managed' AND ${inScope}) AS service_instances,
          (SELECT count(*)::int FROM routes r JOIN spaces s ON s.guid = r.space_guid WHERE r.port > 0 AND ${inScope}) AS reserved_ports,
          (SELECT count(*)::int FROM domains d WHERE ${owned}) AS domains,
          0 AS per_app_tasks,
          (SELECT count(*)::int FROM credential_bindings b JOIN service_instances i ON i.guid = b.service_instance_guid
             JOIN spaces s ON s.guid = i.space_guid WHERE b.type = 'key' AND ${inScope}) AS service_keys`,
  )
  if (!row) throw new Error('A query of aggregates answered no row.')
  return row
}

/** As it stands in `usage_summary`. */
export interface UsageSummary {
  readonly started_instances: number
  readonly memory_in_mb: number
  readonly routes: number
  readonly service_instances: number
  readonly reserved_ports: number
  readonly domains: number
  readonly per_app_tasks: number
  readonly service_keys: number
}
