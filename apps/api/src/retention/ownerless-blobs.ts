import type { Blobstore } from '@bloomery/blobstore'
import { rows, sql, type Queryable, type SqlQuery } from '@bloomery/database'
import { KEPT } from './kept.js'

const BATCH = 500

/** Under each prefix: which of the names behind it somebody still needs. */
const OWNED: Readonly<Record<string, (names: readonly string[]) => SqlQuery>> = {
  'packages/': (names) =>
    sql`SELECT guid AS name FROM packages WHERE guid = ANY(${[...names]}) AND state NOT IN ('EXPIRED', 'FAILED')`,
  'droplets/': (names) =>
    sql`SELECT guid AS name FROM droplets WHERE guid = ANY(${[...names]}) AND state NOT IN ('EXPIRED', 'FAILED')`,
  'files/': (names) => sql`SELECT DISTINCT sha256 AS name FROM matched_files WHERE sha256 = ANY(${[...names]})`,
  'buildpacks/': (names) => sql`SELECT sha256 AS name FROM buildpacks WHERE sha256 = ANY(${[...names]})`,
  // What was received and waits to be processed; a buildpack's waits by a name of its own, and never this long.
  'uploads/': (names) => sql`SELECT guid AS name FROM droplets WHERE guid = ANY(${[...names]}) AND state = 'PROCESSING_UPLOAD'`,
  'caches/': (names) => sql`SELECT guid AS name FROM apps WHERE guid = ANY(${[...names]})`,
}

/** Blobs left over by processes that died between a row and its blob. */
export async function* findOwnerlessBlobs(on: Queryable, blobstore: Pick<Blobstore, 'list'>, now: Date): AsyncIterable<string> {
  const before = now.getTime() - KEPT.ownerlessBlobHours * 3_600_000
  for (const [prefix, owned] of Object.entries(OWNED)) {
    let batch: string[] = []
    for await (const { key, modifiedAt } of blobstore.list(prefix)) {
      if (modifiedAt.getTime() < before) batch.push(key)
      if (batch.length < BATCH) continue
      yield* await withoutOwner(on, prefix, batch, owned)
      batch = []
    }
    yield* await withoutOwner(on, prefix, batch, owned)
  }
}

async function withoutOwner(
  on: Queryable,
  prefix: string,
  keys: readonly string[],
  owned: (names: readonly string[]) => SqlQuery,
): Promise<string[]> {
  if (keys.length === 0) return []
  const nameOf = (key: string): string => key.slice(prefix.length).split('/')[0] ?? ''
  const found = await rows<{ name: string }>(on, owned([...new Set(keys.map(nameOf))]))
  const names = new Set(found.map(({ name }) => name))
  return keys.filter((key) => !names.has(nameOf(key)))
}
