import { rows, sql } from '@bloomery/database'
import type { Context } from '../../http/context.js'
import { fileKey } from './pool-files.js'

const UNUSED_DAYS = 30

/** Drops files that no package of any organization has held for a while. One that is needed after all is simply sent again. */
export async function prunePool({ pool, blobstore }: Pick<Context, 'pool' | 'blobstore'>): Promise<void> {
  const gone = await rows<{ sha256: string }>(
    pool,
    sql`WITH dropped AS (
          DELETE FROM matched_files WHERE used_at < clock_timestamp() - ${UNUSED_DAYS} * interval '1 day' RETURNING organization_guid, sha1, sha256
        )
        SELECT DISTINCT d.sha256 FROM dropped d WHERE NOT EXISTS (
          SELECT 1 FROM matched_files m WHERE m.sha256 = d.sha256
            AND NOT EXISTS (SELECT 1 FROM dropped o WHERE o.organization_guid = m.organization_guid AND o.sha1 = m.sha1))`,
  )
  for (const { sha256 } of gone) await blobstore.delete(fileKey(sha256))
}
