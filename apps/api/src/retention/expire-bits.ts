import { rows, sql, type Queryable } from '@bloomery/database'
import { KEPT } from './kept.js'

/**
 * Packages and droplets beyond those that are kept turn EXPIRED: they are still listed, their bits are gone. Returns the keys of
 * the blobs that nobody needs any more. What is current, runs, is being staged or deployed keeps its bits however old it is.
 */
export async function expireBits(on: Queryable): Promise<string[]> {
  const packages = await rows<{ key: string }>(
    on,
    sql`UPDATE packages p SET state = 'EXPIRED', blob_key = NULL, updated_at = now()
        FROM (SELECT q.guid, q.blob_key, row_number() OVER (PARTITION BY q.app_guid ORDER BY q.created_at DESC, q.guid) AS place
          FROM packages q WHERE q.state = 'READY' AND q.blob_key IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM droplets d JOIN apps a ON a.current_droplet_guid = d.guid WHERE d.package_guid = q.guid)) old
        WHERE p.guid = old.guid AND old.place > ${KEPT.packages} AND p.state = 'READY'
          AND NOT EXISTS (SELECT 1 FROM builds b WHERE b.package_guid = p.guid AND b.state = 'STAGING')
        RETURNING old.blob_key AS key`,
  )
  const droplets = await rows<{ key: string }>(
    on,
    sql`UPDATE droplets p SET state = 'EXPIRED', blob_key = NULL, updated_at = now()
        FROM (SELECT d.guid, d.blob_key, row_number() OVER (PARTITION BY d.app_guid ORDER BY d.created_at DESC, d.guid) AS place
          FROM droplets d WHERE d.state = 'STAGED' AND d.blob_key IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM apps a WHERE a.current_droplet_guid = d.guid)) old
        WHERE p.guid = old.guid AND old.place > ${KEPT.droplets} AND p.state = 'STAGED'
          AND NOT EXISTS (SELECT 1 FROM run_specs s WHERE s.droplet_guid = p.guid
            AND (EXISTS (SELECT 1 FROM processes r WHERE r.current_spec_guid = s.guid)
              OR EXISTS (SELECT 1 FROM actual_instances i WHERE i.spec_guid = s.guid)))
          AND NOT EXISTS (SELECT 1 FROM deployments y WHERE y.status_value = 'ACTIVE'
            AND p.guid IN (y.droplet_guid, y.previous_droplet_guid))
        RETURNING old.blob_key AS key`,
  )
  return [...packages, ...droplets].map(({ key }) => key)
}
