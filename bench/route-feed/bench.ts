import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { createPool, execute, migrate, sql, type Pool } from '@bloomery/database/sql'
import { startPostgres } from '@bloomery/embedded'
import { followRouteFeed } from '@bloomery/feeds'
import { createAuthority, issueNodeIdentity } from '@bloomery/pki'
import { Keyring } from '@bloomery/secrets'
import { silentLogger } from '@bloomery/telemetry'
import { RouteTable } from '../../apps/router/src/table/route-table.js'
import { createScheduler } from '../../apps/scheduler/src/scheduler.js'
import { REPOSITORY } from '../../e2e/platform.js'

const ROUTES = Number(process.env['BENCH_ROUTES'] ?? 100_000)
const APPS = Number(process.env['BENCH_APPS'] ?? 1_000)
const CHANGES = Number(process.env['BENCH_CHANGES'] ?? 50)
const PATIENCE_MS = 120_000

/** Routes in the database, evenly over apps with one running instance each. */
async function fill(pool: Pool): Promise<void> {
  await execute(pool, sql`INSERT INTO organization_quotas (guid, name) VALUES ('q', 'q')`)
  await execute(pool, sql`INSERT INTO organizations (guid, name, quota_guid) VALUES ('o', 'o', 'q')`)
  await execute(pool, sql`INSERT INTO spaces (guid, name, organization_guid) VALUES ('s', 's', 'o')`)
  await execute(pool, sql`INSERT INTO domains (guid, name) VALUES ('d', 'apps.example')`)
  await execute(
    pool,
    sql`INSERT INTO apps (guid, name, space_guid, state) SELECT 'app-' || i, 'app-' || i, 's', 'STARTED' FROM generate_series(1, ${APPS}::int) i`,
  )
  await execute(
    pool,
    sql`INSERT INTO processes (guid, app_guid, type, instances, memory_mb, disk_mb, health_check, version)
        SELECT 'app-' || i, 'app-' || i, 'web', 1, 64, 128, '{"type":"port"}', 'v' FROM generate_series(1, ${APPS}::int) i`,
  )
  await execute(
    pool,
    sql`INSERT INTO droplets (guid, app_guid, state, sha256, size_bytes, blob_key)
        SELECT 'drop-' || i, 'app-' || i, 'STAGED', 'sha', 1, 'k' FROM generate_series(1, ${APPS}::int) i`,
  )
  await execute(
    pool,
    sql`INSERT INTO run_specs (guid, process_guid, app_guid, version, droplet_guid, spec, environment_encrypted)
        SELECT 'spec-' || i, 'app-' || i, 'app-' || i, 1, 'drop-' || i, '{"memoryMb":64,"diskMb":128,"stack":"cflinuxfs4"}', '{}' FROM generate_series(1, ${APPS}::int) i`,
  )
  await execute(pool, sql`UPDATE processes SET current_spec_guid = 'spec-' || substr(guid, 5)`)
  await execute(
    pool,
    sql`INSERT INTO actual_instances (process_guid, spec_version, index, presence, app_guid, process_type, spec_guid, instance_guid, cell_id, state,
          state_since, routable, endpoint, memory_mb, disk_mb, lease_token)
        SELECT 'app-' || i, 1, 0, 'ordinary', 'app-' || i, 'web', 'spec-' || i, 'instance-' || i, 'c1', 'running', now(), true,
          jsonb_build_object('address', '10.255.' || i / 250 || '.' || i % 250, 'hostAddress', '127.0.0.1',
            'ports', jsonb_build_array(jsonb_build_object('internal', 8080, 'external', 20000 + i))), 64, 128, 1
        FROM generate_series(1, ${APPS}::int) i`,
  )
  await execute(
    pool,
    sql`INSERT INTO routes (guid, host, domain_guid, space_guid) SELECT 'route-' || i, 'host-' || i, 'd', 's' FROM generate_series(1, ${ROUTES}::int) i`,
  )
  await execute(
    pool,
    sql`INSERT INTO route_destinations (guid, route_guid, app_guid)
        SELECT 'to-' || i, 'route-' || i, 'app-' || (1 + i % ${APPS}::int) FROM generate_series(1, ${ROUTES}::int) i`,
  )
  await pool.query('ANALYZE')
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  for (const end = Date.now() + PATIENCE_MS; !isSo();) {
    if (Date.now() > end) throw new Error(`${what}: not within ${PATIENCE_MS / 1000} s`)
    await delay(1)
  }
}

/** From the commit of a change in the database to the moment when a router's table answers by it, in milliseconds. */
export async function run(): Promise<object> {
  const home = mkdtempSync(join(tmpdir(), 'bloomery-bench-feed-'))
  const postgres = await startPostgres({ home, installationId: `bench-${process.pid}`, logFile: join(home, 'postgres.log') })
  const pool = createPool(postgres.url)
  try {
    await migrate(pool, join(REPOSITORY, 'prisma/migrations'))
    await fill(pool)
    const authority = await createAuthority()
    const scheduler = await createScheduler({
      pool,
      identity: await issueNodeIdentity(authority, { role: 'scheduler', nodeId: 's' }),
      listen: { host: '127.0.0.1', port: 0 },
      keyring: new Keyring('k', new Map([['k', randomBytes(32)]])),
      signedUrl: () => Promise.resolve(''),
      logs: { send: () => undefined },
      nudge: () => undefined,
      log: silentLogger,
    })
    const router = await issueNodeIdentity(authority, { role: 'router', nodeId: 'r' })
    const table = new RouteTable()
    const startedAt = performance.now()
    const feed = followRouteFeed({
      url: `https://127.0.0.1:${scheduler.port}`,
      worker: 'w0',
      identity: () => router,
      receiver: table,
      log: silentLogger,
    })
    await until('the whole table', () => table.size === ROUTES)
    const wholeMs = performance.now() - startedAt

    const appliedMs = async (change: () => Promise<unknown>, isApplied: () => boolean): Promise<number> => {
      await change()
      const from = performance.now()
      // As the api's hint does, which comes over Redis.
      scheduler.nudge()
      await until('a change', isApplied)
      const ms = performance.now() - from
      await delay(100)
      return ms
    }
    const cpuBefore = process.cpuUsage()
    const added: number[] = []
    const moved: number[] = []
    const removed: number[] = []
    for (let i = 0; i < CHANGES; i++) {
      const guid = randomUUID()
      const host = `new-${i}`
      const found = () => table.find(`${host}.apps.example`, '/')
      const map = async (): Promise<void> => {
        await execute(pool, sql`INSERT INTO routes (guid, host, domain_guid, space_guid) VALUES (${guid}, ${host}, 'd', 's')`)
        await execute(pool, sql`INSERT INTO route_destinations (guid, route_guid, app_guid) VALUES (${guid}, ${guid}, 'app-1')`)
      }
      added.push(await appliedMs(map, () => found() !== undefined))
      // An instance comes at another address: of all routes of its app.
      const address = `10.250.0.${i + 1}`
      moved.push(
        await appliedMs(
          () =>
            execute(
              pool,
              sql`UPDATE actual_instances SET endpoint = jsonb_set(endpoint, '{address}', to_jsonb(${address}::text)) WHERE app_guid = 'app-1'`,
            ),
          () => found()?.endpoints[0]?.localAddress === `${address}:8080`,
        ),
      )
      removed.push(
        await appliedMs(
          () => execute(pool, sql`DELETE FROM routes WHERE guid = ${guid}`),
          () => found() === undefined,
        ),
      )
    }
    const { user, system } = process.cpuUsage(cpuBefore)
    feed.close()
    await scheduler.close()
    return {
      routes: ROUTES,
      apps: APPS,
      wholeTableMs: Math.round(wholeMs),
      routeAddedMs: spread(added),
      instanceMovedMs: { routes: ROUTES / APPS + 1, ...spread(moved) },
      routeRemovedMs: spread(removed),
      // Of scheduler and router together, idle passes in between included.
      processorMsPerChange: Math.round((user + system) / 100 / (3 * CHANGES)) / 10,
    }
  } finally {
    await pool.end()
    await postgres.stop()
    rmSync(home, { recursive: true, force: true })
  }
}

function spread(values: readonly number[]): { median: number; p95: number; max: number; changes: number } {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (share: number): number =>
    Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0) * 10) / 10
  return { median: at(0.5), p95: at(0.95), max: at(1), changes: sorted.length }
}
