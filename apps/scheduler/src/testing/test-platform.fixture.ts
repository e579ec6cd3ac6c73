import { createPool, execute, rows, sql, type Pool } from '@bloomery/database/sql'
import type { LogLine, NodeIdentity, Nudge } from '@bloomery/contracts'
import { createAuthority, makeTestIdentity, type CertificateAuthority } from '@bloomery/pki'
import { createLogger, silentLogger } from '@bloomery/telemetry'
import { DatabaseClock } from '../clock.js'
import { createScheduler, type Scheduler } from '../scheduler.js'
import type { InstanceRow } from '../state/rows.js'
import { listInstances } from '../state/read-state.js'
import { FakeCell } from './fake-cell.fixture.js'
import { FakeRouter } from './fake-router.fixture.js'
import { Installation, testKeyring } from './installation.fixture.js'

/** Tests of one file share a database. */
export async function emptyDatabase(pool: Pool): Promise<void> {
  await execute(
    pool,
    sql`TRUNCATE organizations, organization_quotas, spaces, apps, processes, run_specs, actual_instances, deployments, droplets, routes,
          route_destinations, route_changes, domains, cells, routers, withdrawn_endpoints, audit_events, decision_records, leases, builds CASCADE`,
  )
}

/** A clock that can be moved on. */
export class TestClock extends DatabaseClock {
  #aheadMs = 0
  override now(): Date {
    return new Date(super.now().getTime() + this.#aheadMs)
  }
  advance(ms: number): void {
    this.#aheadMs += ms
  }
}

/** Schedulers, cells and routers of one test, with what they said; `close` ends them all. */
export class TestPlatform {
  readonly clock = new TestClock()
  readonly nudges: Nudge[] = []
  readonly lines: LogLine[] = []
  readonly #closing: (() => Promise<unknown>)[] = []

  private constructor(
    readonly url: string,
    readonly pool: Pool,
    readonly installation: Installation,
    readonly authority: CertificateAuthority,
  ) {}

  static async prepare(url: string): Promise<TestPlatform> {
    const pool = createPool(url)
    const installation = await new Installation(pool).prepare()
    const platform = new TestPlatform(url, pool, installation, await createAuthority({ name: 'Test authority' }))
    platform.#closing.push(() => pool.end())
    return platform
  }

  async identity(role: NodeIdentity['role'], nodeId: string): Promise<NodeIdentity> {
    return (await makeTestIdentity(role, { nodeId, authority: this.authority })).identity
  }

  async scheduler(nodeId = 's1', options: { url?: string; port?: number; leaseTtlMs?: number } = {}): Promise<Scheduler> {
    const pool = createPool(options.url ?? this.url, { applicationName: nodeId })
    const scheduler = await createScheduler({
      pool,
      identity: await this.identity('scheduler', nodeId),
      listen: { host: '127.0.0.1', port: options.port ?? 0 },
      keyring: testKeyring,
      signedUrl: (key) => Promise.resolve(`https://blobs/${key}?signature=${Math.random()}`),
      logs: {
        send: (envelope) => {
          if (envelope.kind === 'log') this.lines.push(envelope)
        },
      },
      nudge: (nudge) => void this.nudges.push(nudge),
      log: process.env['TEST_LOG'] ? createLogger(nodeId, 'debug') : silentLogger,
      clock: this.clock,
      leaseTtlMs: options.leaseTtlMs ?? 3_000,
      pace: { lookMs: 200, fullPassMs: 400, routersMs: 500 },
    })
    let closed = false
    const close = async (): Promise<void> => {
      if (closed) return
      closed = true
      await scheduler.close()
      await pool.end()
    }
    this.#closing.push(close)
    return {
      get port() {
        return scheduler.port
      },
      get isLeading() {
        return scheduler.isLeading
      },
      nudge: () => scheduler.nudge(),
      useIdentity: (identity) => scheduler.useIdentity(identity),
      close,
    }
  }

  async cell(id: string, scheduler: Scheduler, options: ConstructorParameters<typeof FakeCell>[3] = {}): Promise<FakeCell> {
    const cell = await new FakeCell(id, await this.identity('cell', id), scheduler.port, options).start()
    this.#closing.push(() => cell.close())
    return cell
  }

  async router(worker: string, scheduler: Scheduler): Promise<FakeRouter> {
    const router = new FakeRouter(worker, await this.identity('router', 'r'), scheduler.port).start()
    this.#closing.push(() => router.close())
    return router
  }

  instances(processGuid?: string): Promise<InstanceRow[]> {
    const where = processGuid === undefined ? sql`true` : sql`process_guid = ${processGuid}`
    return listInstances(this.pool, sql`${where} ORDER BY index, spec_version, presence`)
  }

  async deployment(guid: string): Promise<{ value: string; reason: string; detail: string | null }> {
    const [row] = await rows<{ value: string; reason: string; detail: string | null }>(
      this.pool,
      sql`SELECT status_value AS value, status_reason AS reason, detail FROM deployments WHERE guid = ${guid}`,
    )
    return row!
  }

  async close(): Promise<void> {
    for (const close of this.#closing.reverse()) await close()
  }
}
