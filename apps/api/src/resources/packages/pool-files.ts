import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PACKAGE_LIMITS, visitZip, hashZipFiles } from '@bloomery/archives'
import { execute, rows, sql } from '@bloomery/database'
import { z } from 'zod'
import type { Context } from '../../http/context.js'
import { withWorkFolder } from '../../uploads/work-folders.js'
import { MAX_MATCHED_BYTES } from './matched-resources.js'

export const PoolFilesParams = z.object({ packageGuid: z.string() })
/** Of a package with more files than this, the first ones are kept: the pool is a convenience. */
const MAX_FILES = 20_000

export const fileKey = (sha256: string): string => `files/${sha256}`

/** Puts a package's files into its organization's pool, so that the next push need not send them. May be run again. */
export async function poolFiles(context: Context, packageGuid: string): Promise<void> {
  const { db, blobstore, pool } = context
  const row = await db.package.findUnique({ where: { guid: packageGuid }, include: { app: { include: { space: true } } } })
  if (row?.state !== 'READY' || row.blobKey === null) return
  const { organizationGuid } = row.app.space
  const { blobKey } = row
  await withWorkFolder(context.settings, async (folder) => {
    const path = blobstore.localPath(blobKey) ?? join(folder, 'package.zip')
    if (path.startsWith(folder)) await writeFile(path, (await blobstore.get(blobKey)).body)
    const files = (
      await hashZipFiles(path, PACKAGE_LIMITS, ({ sizeBytes }) => sizeBytes > 0 && sizeBytes <= MAX_MATCHED_BYTES)
    ).slice(0, MAX_FILES)
    const byHash = new Map(files.map((file) => [file.sha256, file]))
    const present = new Set(
      (
        await rows<{ sha256: string }>(
          pool,
          sql`SELECT DISTINCT sha256 FROM matched_files WHERE sha256 = ANY(${[...byHash.keys()]})`,
        )
      ).map(({ sha256 }) => sha256),
    )
    const missing = new Map([...byHash].filter(([sha256]) => !present.has(sha256)).map(([sha256, file]) => [file.path, sha256]))
    if (missing.size > 0)
      await visitZip(path, PACKAGE_LIMITS, async (entry, open) => {
        const sha256 = missing.get(entry.path)
        if (entry.type === 'file' && sha256 !== undefined) await blobstore.put(fileKey(sha256), await open(), { sha256 })
      })
    // Many packages hold one file under several names.
    const known = [...new Map(files.map((file) => [file.sha1, file])).values()]
    for (let at = 0; at < known.length; at += 1000) {
      const batch = known.slice(at, at + 1000)
      await execute(
        pool,
        sql`INSERT INTO matched_files (organization_guid, sha1, sha256, size_bytes, used_at)
            SELECT ${organizationGuid}, x.sha1, x.sha256, x.size, now()
            FROM unnest(${batch.map((each) => each.sha1)}::text[], ${batch.map((each) => each.sha256)}::text[], ${batch.map((each) => each.sizeBytes)}::bigint[]) AS x (sha1, sha256, size)
            ON CONFLICT (organization_guid, sha1) DO UPDATE SET used_at = now()`,
      )
    }
  })
}
