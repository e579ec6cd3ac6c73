import { z } from 'zod'
import type { MatchedEntry } from '@bloomery/archives'
import { rows, sql, type Pool } from '@bloomery/database'
import { unprocessable } from '../../http/errors.js'
import type { Access } from '../../http/permissions.js'

/** A file as the client names it: by path, octal mode and SHA-1. */
export const Resource = z.object({
  path: z.string().max(4096).optional(),
  mode: z.union([z.string(), z.number()]).optional(),
  checksum: z.object({ value: z.string() }),
  size_in_bytes: z.number().int().nonnegative(),
})
export type Resource = z.infer<typeof Resource>
/** Larger files are always uploaded: keeping them twice costs more than sending them. */
export const MAX_MATCHED_BYTES = 512 * 1024 ** 2
const SHA1 = /^[0-9a-f]{40}$/

interface KnownFile {
  readonly sha1: string
  readonly sha256: string
  readonly size: bigint
}

/**
 * Files of these hashes in the pools of the organizations in which the caller develops. A hash that somebody else's organization
 * knows gives no right to the contents, so it counts as unknown. `preferred`: the organization whose copy is taken first.
 */
async function findKnown(
  pool: Pool,
  access: Access,
  sha1s: readonly string[],
  preferred?: string,
): Promise<Map<string, KnownFile>> {
  const mine = access.isAdmin
    ? sql`TRUE`
    : sql`m.organization_guid IN (SELECT s.organization_guid FROM roles r JOIN spaces s ON s.guid = r.space_guid
            WHERE r.user_guid = ${access.principal.guid} AND r.type = 'space_developer')`
  const found = await rows<KnownFile>(
    pool,
    sql`SELECT DISTINCT ON (m.sha1) m.sha1, m.sha256, m.size_bytes AS size FROM matched_files m
        WHERE m.sha1 = ANY(${[...new Set(sha1s)]}) AND ${mine} ORDER BY m.sha1, (m.organization_guid = ${preferred ?? ''}) DESC`,
  )
  return new Map(found.map((file) => [file.sha1, file]))
}

/** The resources of the request that need not be sent, one entry per path, as they came. */
export async function matchResources(pool: Pool, access: Access, resources: readonly Resource[]): Promise<Resource[]> {
  const wanted = resources.filter(
    ({ checksum, size_in_bytes: size }) => SHA1.test(checksum.value) && size > 0 && size <= MAX_MATCHED_BYTES,
  )
  const known = await findKnown(
    pool,
    access,
    wanted.map(({ checksum }) => checksum.value),
  )
  return wanted.filter(({ checksum, size_in_bytes: size }) => known.get(checksum.value)?.size === BigInt(size))
}

/** The `resources` part of an upload as entries of the package; refuses what the caller may not take from the pool. */
export async function readMatched(
  pool: Pool,
  access: Access,
  text: string | undefined,
  organizationGuid: string,
): Promise<MatchedEntry[]> {
  if (text === undefined || text.trim() === '') return []
  const parsed = z.array(Resource).safeParse(parseJson(text))
  if (!parsed.success) throw unprocessable('Resources must be an array of objects with path, mode, checksum and size_in_bytes')
  const resources = parsed.data
  const known = await findKnown(
    pool,
    access,
    resources.map(({ checksum }) => checksum.value),
    organizationGuid,
  )
  return resources.map((resource) => {
    const file = known.get(resource.checksum.value)
    if (!resource.path) throw unprocessable('Resources must have a path')
    if (file?.size !== BigInt(resource.size_in_bytes))
      throw unprocessable(
        `The file '${resource.path}' is not known here under the checksum ${resource.checksum.value}; push again, so that it is uploaded.`,
      )
    return { path: resource.path, mode: parseMode(resource.mode), sha1: file.sha1, sha256: file.sha256, size: Number(file.size) }
  })
}

function parseMode(mode: string | number | undefined): number {
  const bits = Number.parseInt(String(mode ?? '744'), 8)
  return Number.isNaN(bits) ? 0o744 : bits & 0o777
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
