import { execute, type Queryable, sql } from '@bloomery/database/sql'
import { versionKey } from '@bloomery/domain'
import type { DropletComponent } from './build-record.js'

/** Writes a droplet's bill of materials; what an earlier try of the same build has written gives way. */
export async function insertComponents(
  on: Queryable,
  dropletGuid: string,
  components: readonly DropletComponent[],
): Promise<void> {
  await execute(on, sql`DELETE FROM droplet_components WHERE droplet_guid = ${dropletGuid}`)
  if (components.length === 0) return
  const asRows = components.map((each) => ({ ...each, version_key: `{${versionKey(each.version).join(',')}}` }))
  await execute(
    on,
    sql`INSERT INTO droplet_components (droplet_guid, purl, name, version, version_key, kind, source, checksum)
        SELECT ${dropletGuid}, purl, name, version, version_key::bigint[], kind, source, checksum
        FROM jsonb_to_recordset(${JSON.stringify(asRows)}::jsonb)
          AS given (purl text, name text, version text, version_key text, kind text, source text, checksum text)
        ON CONFLICT DO NOTHING`,
  )
}
