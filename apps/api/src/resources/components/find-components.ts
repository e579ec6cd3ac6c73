import { joinSql, rows, sql, type Queryable, type SqlQuery } from '@bloomery/database'
import type { VersionSpan } from '@bloomery/domain'

/** A component of a droplet of an app. */
export interface FoundComponent {
  readonly purl: string
  readonly name: string
  readonly version: string
  readonly source: string
  readonly droplet_guid: string
  readonly is_current: boolean
  readonly app_guid: string
  readonly app_name: string
  readonly space_guid: string
  readonly space_name: string
  readonly organization_guid: string
  readonly organization_name: string
  readonly total: bigint
}

interface Asked {
  /** As its ecosystem writes it; without scope or group it is found in any. */
  readonly name: string
  readonly spans: readonly VersionSpan[]
  /** Droplets that apps run or would start with, or all that there are. */
  readonly all: boolean
  /** Undefined: of all spaces. */
  readonly readerGuid: string | undefined
  readonly limit: number
  readonly offset: number
}

/** Every app whose droplet holds a component of this name in one of these spans of versions, in one query. */
export function findComponents(on: Queryable, { name, spans, all, readerGuid, limit, offset }: Asked): Promise<FoundComponent[]> {
  const versions = joinSql(spans.map(inSpan), ' OR ', sql`true`)
  const named = /[:/]/.test(name)
    ? sql`c.name = ${name}`
    : sql`(c.name = ${name} OR c.name LIKE ${`%/${escaped(name)}`} OR c.name LIKE ${`%:${escaped(name)}`})`
  const used = sql`(a.current_droplet_guid = d.guid OR EXISTS (SELECT 1 FROM run_specs r JOIN processes p ON p.current_spec_guid = r.guid
      WHERE r.droplet_guid = d.guid))`
  const visible =
    readerGuid === undefined
      ? sql`true`
      : sql`EXISTS (SELECT 1 FROM roles r WHERE r.user_guid = ${readerGuid} AND (
          (r.space_guid = s.guid AND r.type IN ('space_developer', 'space_manager', 'space_auditor', 'space_supporter'))
          OR (r.organization_guid = o.guid AND r.type = 'organization_manager')))`
  return rows<FoundComponent>(
    on,
    sql`SELECT c.purl, c.name, c.version, c.source, d.guid AS droplet_guid, coalesce(a.current_droplet_guid = d.guid, false) AS is_current,
          a.guid AS app_guid, a.name AS app_name, s.guid AS space_guid, s.name AS space_name,
          o.guid AS organization_guid, o.name AS organization_name, count(*) OVER () AS total
        FROM droplet_components c JOIN droplets d ON d.guid = c.droplet_guid AND d.state = 'STAGED'
          JOIN apps a ON a.guid = d.app_guid JOIN spaces s ON s.guid = a.space_guid JOIN organizations o ON o.guid = s.organization_guid
        WHERE ${named} AND (${versions}) AND ${all ? sql`true` : used} AND ${visible}
        ORDER BY o.name, s.name, a.name, d.created_at DESC, c.purl LIMIT ${limit} OFFSET ${offset}`,
  )
}

function inSpan({ from, to }: VersionSpan): SqlQuery {
  const literal = (key: readonly bigint[]): string => `{${key.join(',')}}`
  const parts: SqlQuery[] = []
  if (from)
    parts.push(
      from.inclusive ? sql`c.version_key >= ${literal(from.key)}::bigint[]` : sql`c.version_key > ${literal(from.key)}::bigint[]`,
    )
  if (to)
    parts.push(
      to.inclusive ? sql`c.version_key <= ${literal(to.key)}::bigint[]` : sql`c.version_key < ${literal(to.key)}::bigint[]`,
    )
  return sql`(${joinSql(parts, ' AND ', sql`true`)})`
}

const escaped = (text: string): string => text.replace(/[\\%_]/g, '\\$&')
