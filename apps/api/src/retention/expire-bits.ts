import { rows, sql, type Queryable, type SqlQuery } from '@bloomery/database'
import { KEPT } from './kept.js'

/** A blob that nobody needs any more, and why. */
export interface ExpiringBits {
  readonly key: string
  readonly bytes: bigint | null
  readonly guid: string
  readonly appGuid: string
  readonly appName: string
}

/** Packages beyond those that are kept; not that of a current droplet, and none that is being staged. */
const packages: SqlQuery = sql`
  SELECT q.guid, q.blob_key AS key, q.size_bytes AS bytes, q.app_guid AS "appGuid", a.name AS "appName"
  FROM (SELECT p.*, row_number() OVER (PARTITION BY p.app_guid ORDER BY p.created_at DESC, p.guid) AS place
      FROM packages p WHERE p.state = 'READY' AND p.blob_key IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM droplets d JOIN apps c ON c.current_droplet_guid = d.guid WHERE d.package_guid = p.guid)) q
    JOIN apps a ON a.guid = q.app_guid
  WHERE q.place > ${KEPT.packages} AND NOT EXISTS (SELECT 1 FROM builds b WHERE b.package_guid = q.guid AND b.state = 'STAGING')`

/** Droplets beyond those that are kept; none that is current, runs, or is being deployed or turned back to. */
const droplets: SqlQuery = sql`
  SELECT q.guid, q.blob_key AS key, q.size_bytes AS bytes, q.app_guid AS "appGuid", a.name AS "appName"
  FROM (SELECT d.*, row_number() OVER (PARTITION BY d.app_guid ORDER BY coalesce(d.reused_at, d.created_at) DESC, d.guid) AS place
      FROM droplets d WHERE d.state = 'STAGED' AND d.blob_key IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM apps c WHERE c.current_droplet_guid = d.guid)) q
    JOIN apps a ON a.guid = q.app_guid
  WHERE q.place > ${KEPT.droplets}
    AND NOT EXISTS (SELECT 1 FROM run_specs s WHERE s.droplet_guid = q.guid
      AND (EXISTS (SELECT 1 FROM processes r WHERE r.current_spec_guid = s.guid)
        OR EXISTS (SELECT 1 FROM actual_instances i WHERE i.spec_guid = s.guid)))
    AND NOT EXISTS (SELECT 1 FROM deployments y WHERE y.status_value = 'ACTIVE' AND q.guid IN (y.droplet_guid, y.previous_droplet_guid))`

/** What `expireBits` would let go of now; changes nothing. */
export async function listExpiring(
  on: Queryable,
): Promise<{ readonly packages: readonly ExpiringBits[]; readonly droplets: readonly ExpiringBits[] }> {
  return { packages: await rows<ExpiringBits>(on, packages), droplets: await rows<ExpiringBits>(on, droplets) }
}

/**
 * Packages and droplets beyond those that are kept turn EXPIRED: they are still listed, their bits are gone. Returns the keys of
 * the blobs that nobody needs any more. What is current, runs, is being staged or deployed keeps its bits however old it is.
 */
export async function expireBits(on: Queryable): Promise<string[]> {
  const expired = [
    ...(await rows<{ key: string }>(
      on,
      sql`UPDATE packages p SET state = 'EXPIRED', blob_key = NULL, updated_at = now() FROM (${packages}) old
          WHERE p.guid = old.guid AND p.state = 'READY' RETURNING old.key`,
    )),
    ...(await rows<{ key: string }>(
      on,
      sql`UPDATE droplets d SET state = 'EXPIRED', blob_key = NULL, updated_at = now() FROM (${droplets}) old
          WHERE d.guid = old.guid AND d.state = 'STAGED' RETURNING old.key`,
    )),
  ]
  return expired.map(({ key }) => key)
}
