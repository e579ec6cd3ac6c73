import { randomUUID } from 'node:crypto'
import { beforeAll, describe, expect, it } from '@jest/globals'
import { execute, rows, sql } from '@bloomery/database'
import { silentLogger } from '@bloomery/telemetry'
import { withPostgres } from '@bloomery/testing'
import { MemoryBlobstore } from '../testing.fixture.js'
import { retain } from './retain.js'

const postgres = withPostgres()
const app = randomUUID()
const blobstore = new MemoryBlobstore()
const old = (days: number): Date => new Date(Date.now() - days * 86_400_000)
const hold = (key: string, days = 10): void => void blobstore.blobs.set(key, { bytes: Buffer.from(key), modifiedAt: old(days) })
const run = () => retain({ pool: postgres.pool, blobstore, log: silentLogger, holder: 'api-1', now: () => new Date() })
const statesOf = async (table: 'packages' | 'droplets'): Promise<Record<string, string>> => {
  const found = await rows<{ guid: string; state: string }>(
    postgres.pool,
    table === 'packages' ? sql`SELECT guid, state FROM packages` : sql`SELECT guid, state FROM droplets`,
  )
  return Object.fromEntries(found.map(({ guid, state }) => [guid, state]))
}

beforeAll(async () => {
  const { pool } = postgres
  await execute(pool, sql`INSERT INTO organization_quotas (guid, name) VALUES ('q', 'q')`)
  await execute(pool, sql`INSERT INTO organizations (guid, name, quota_guid) VALUES ('o', 'o', 'q')`)
  await execute(pool, sql`INSERT INTO spaces (guid, name, organization_guid) VALUES ('s', 's', 'o')`)
  await execute(pool, sql`INSERT INTO apps (guid, name, space_guid) VALUES (${app}, 'a', 's')`)
  // Nine of each, the oldest first; p0 and d0 are what runs.
  for (let i = 0; i < 9; i++) {
    const at = old(20 - i)
    await execute(
      pool,
      sql`INSERT INTO packages (guid, app_guid, state, blob_key, created_at) VALUES (${`p${i}`}, ${app}, 'READY', ${`packages/p${i}`}, ${at})`,
    )
    await execute(
      pool,
      sql`INSERT INTO droplets (guid, app_guid, package_guid, state, blob_key, created_at)
          VALUES (${`d${i}`}, ${app}, ${`p${i}`}, 'STAGED', ${`droplets/d${i}`}, ${at})`,
    )
    hold(`packages/p${i}`)
    hold(`droplets/d${i}`)
  }
  await execute(pool, sql`UPDATE apps SET current_droplet_guid = 'd0'`)
  // d1 is what a deployment under way would turn back to; p1 is being staged again.
  await execute(
    pool,
    sql`INSERT INTO deployments (guid, app_guid, status_value, status_reason, droplet_guid, previous_droplet_guid)
        VALUES ('active', ${app}, 'ACTIVE', 'DEPLOYING', 'd0', 'd1')`,
  )
  await execute(
    pool,
    sql`INSERT INTO builds (guid, app_guid, package_guid, state, stack, staging_memory_mb, staging_disk_mb)
        VALUES ('staging', ${app}, 'p1', 'STAGING', 'cflinuxfs4', 1, 1)`,
  )
})

describe('retention', () => {
  it('keeps what is current, runs, is staged or deployed, and the newest five; the others expire with their bits', async () => {
    await run()
    const expired = (states: Record<string, string>) =>
      Object.keys(states)
        .filter((guid) => states[guid] === 'EXPIRED')
        .sort()
    expect(expired(await statesOf('packages'))).toEqual(['p2', 'p3'])
    expect(expired(await statesOf('droplets'))).toEqual(['d2', 'd3'])
    expect([...blobstore.blobs.keys()].filter((key) => /[23]$/.test(key))).toEqual([])
    expect(blobstore.blobs.size).toBe(14)
  })

  it("deletes blobs that are nobody's, but none that may just be on its way", async () => {
    for (const key of ['packages/none', 'droplets/none', 'files/none', 'caches/none/cflinuxfs4', `caches/${app}/cflinuxfs4`])
      hold(key)
    hold('packages/just-now', 0)
    hold('buildpacks/none')
    hold('buildpacks/cafe')
    hold('uploads/none.checked')
    await postgres.pool.query(
      "INSERT INTO buildpacks (guid, name, position, state, sha256) VALUES ('b', 'mine', 1, 'READY', 'cafe')",
    )
    await run()
    expect([...blobstore.blobs.keys()].filter((key) => key.includes('none'))).toEqual([])
    expect(blobstore.blobs.has('buildpacks/cafe')).toBe(true)
    expect(blobstore.blobs.has('packages/just-now')).toBe(true)
    expect(blobstore.blobs.has(`caches/${app}/cflinuxfs4`)).toBe(true)
  })

  it('forgets events, jobs, builds, deployments and pooled files of long ago', async () => {
    const { pool } = postgres
    for (const days of [40, 1]) {
      await execute(
        pool,
        sql`INSERT INTO audit_events (guid, type, actor_guid, actor_type, actor_name, target_guid, target_type, target_name, created_at)
            VALUES (${randomUUID()}, 'audit.app.start', 'u', 'user', 'u', ${app}, 'app', 'a', ${old(days)})`,
      )
      await execute(
        pool,
        sql`INSERT INTO jobs (guid, operation, state, created_at, updated_at) VALUES (${randomUUID()}, 'app.delete', 'COMPLETE', ${old(days)}, ${old(days)})`,
      )
    }
    for (const days of [91, 89])
      await execute(
        pool,
        sql`INSERT INTO matched_files (organization_guid, sha1, sha256, size_bytes, used_at) VALUES ('o', ${`sha1-${days}`}, 'x', 1, ${old(days)})`,
      )
    await execute(
      pool,
      sql`INSERT INTO deployments (guid, app_guid, status_value, status_reason, created_at)
          SELECT 'deployment-' || n, ${app}, 'FINALIZED', 'DEPLOYED', now() - n * interval '1 minute' FROM generate_series(1, 103) n`,
    )
    await execute(
      pool,
      sql`INSERT INTO builds (guid, app_guid, state, stack, staging_memory_mb, staging_disk_mb, created_at)
          SELECT 'build-' || n, ${app}, 'STAGED', 'cflinuxfs4', 1, 1, now() - n * interval '1 minute' FROM generate_series(1, 103) n`,
    )
    await run()
    const counts = await rows(
      pool,
      sql`SELECT (SELECT count(*)::int FROM audit_events) AS events, (SELECT count(*)::int FROM jobs) AS jobs,
            (SELECT count(*)::int FROM deployments) AS deployments, (SELECT count(*)::int FROM builds) AS builds,
            (SELECT array_agg(sha1) FROM matched_files) AS files`,
    )
    expect(counts).toEqual([{ events: 1, jobs: 1, deployments: 101, builds: 101, files: ['sha1-89'] }])
  })
})
