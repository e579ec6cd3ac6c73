import { jest } from '@jest/globals'
import { execute, rows, sql } from '@bloomery/database/sql'
import { eventually, withPostgres } from '@bloomery/testing'
import { emptyDatabase, TestPlatform } from './testing/test-platform.fixture.js'

jest.setTimeout(60_000)

const postgres = withPostgres()
let platform: TestPlatform
beforeEach(async () => {
  await emptyDatabase(postgres.pool)
  platform = await TestPlatform.prepare(postgres.url)
})
afterEach(() => platform.close())

const running = async (processGuid: string) => (await platform.instances(processGuid)).filter(({ state }) => state === 'running')

describe('an app', () => {
  it('runs on a cell, is routed, and stops out of the routes first', async () => {
    const scheduler = await platform.scheduler()
    const router = await platform.router('w0', scheduler)
    const cell = await platform.cell('c1', scheduler)
    const app = await platform.installation.startApp({ instances: 2 })
    scheduler.nudge()

    await eventually(() => router.endpointsOf(app.host).length === 2)
    expect(cell.document?.instances[0]).toMatchObject({
      want: 'run',
      environment: { GREETING: 'hello' },
      droplet: { url: expect.stringMatching(/^https:\/\/blobs\/droplets\//) },
    })
    expect(platform.nudges).toContainEqual({ topic: 'changed', kind: 'process', guid: app.processGuid })

    await platform.installation.stop(app)
    scheduler.nudge()
    await eventually(async () => (await platform.instances()).length === 0)
    expect(cell.stopped).toHaveLength(2)
    expect(router.endpointsOf(app.host)).toEqual([])
    expect(router.table.get(app.routeGuid)?.endpoints).toEqual([])
    // Every router has let go of them: the addresses are free again.
    await eventually(async () => (await rows(postgres.pool, sql`SELECT 1 FROM withdrawn_endpoints`)).length === 0)
  })

  it('scales at once, both ways, keeping the lower indexes', async () => {
    const scheduler = await platform.scheduler()
    const cell = await platform.cell('c1', scheduler)
    const app = await platform.installation.startApp()
    scheduler.nudge()
    await eventually(() => cell.running.length === 1)
    await platform.installation.scale(app.processGuid, 4)
    scheduler.nudge()
    await eventually(async () => (await running(app.processGuid)).length === 4)
    await platform.installation.scale(app.processGuid, 1)
    scheduler.nudge()
    await eventually(async () => (await platform.instances()).length === 1)
    expect(cell.running.map(({ index }) => index)).toEqual([0])
  })

  it('is found by itself where no nudge arrives', async () => {
    const scheduler = await platform.scheduler()
    const cell = await platform.cell('c1', scheduler)
    await eventually(() => scheduler.isLeading)
    await platform.installation.startApp()
    await eventually(() => cell.running.length === 1)
  })

  it('runs its new spec after a restart, and the old one no more', async () => {
    const scheduler = await platform.scheduler()
    const cell = await platform.cell('c1', scheduler)
    const app = await platform.installation.startApp({ instances: 2 })
    scheduler.nudge()
    await eventually(() => cell.running.length === 2)
    await platform.installation.restart(app)
    scheduler.nudge()
    await eventually(async () => {
      const rowsNow = await platform.instances()
      return rowsNow.length === 2 && rowsNow.every(({ specVersion, state }) => specVersion === 2 && state === 'running')
    })
    expect(cell.stopped).toHaveLength(2)
  })

  it('keeps the row of an index that is restarted, and gives it a new instance', async () => {
    const scheduler = await platform.scheduler()
    const router = await platform.router('w0', scheduler)
    const cell = await platform.cell('c1', scheduler)
    const app = await platform.installation.startApp({ instances: 2 })
    scheduler.nudge()
    await eventually(() => router.endpointsOf(app.host).length === 2)
    const [before] = await platform.instances(app.processGuid)
    await execute(
      postgres.pool,
      sql`UPDATE actual_instances SET state = 'stopping', stop_reason = 'restart' WHERE process_guid = ${app.processGuid} AND index = 0`,
    )
    scheduler.nudge()
    const counts: number[] = []
    const after = await eventually(async () => {
      const found = await platform.instances(app.processGuid)
      counts.push(found.length)
      return found[0]?.state === 'running' && found[0].instanceGuid !== before!.instanceGuid ? found[0] : undefined
    })
    expect(after.index).toBe(0)
    expect(new Set(counts)).toEqual(new Set([2]))
    expect(cell.stopped).toEqual([before!.instanceGuid])
  })

  it('that is deleted leaves nothing behind', async () => {
    const scheduler = await platform.scheduler()
    const router = await platform.router('w0', scheduler)
    const cell = await platform.cell('c1', scheduler)
    const app = await platform.installation.startApp()
    scheduler.nudge()
    await eventually(() => router.endpointsOf(app.host).length === 1)
    await platform.installation.delete(app)
    scheduler.nudge()
    await eventually(async () => (await platform.instances()).length === 0)
    expect(cell.held.size).toBe(0)
    expect(router.table.size).toBe(0)
  })

  it('that fits nowhere says so, and starts as soon as it does', async () => {
    const scheduler = await platform.scheduler()
    await platform.cell('c1', scheduler, { memoryMb: 100 })
    const app = await platform.installation.startApp({ memoryMb: 512 })
    scheduler.nudge()
    const [row] = await eventually(async () => {
      const found = await platform.instances()
      return found[0]?.placementError ? found : undefined
    })
    expect(row).toMatchObject({ state: 'unclaimed', placementError: 'insufficient resources: memory' })
    const large = await platform.cell('c2', scheduler, { memoryMb: 1024 })
    await eventually(() => large.running.length === 1)
    expect((await platform.instances(app.processGuid))[0]?.placementError).toBeNull()
    const explained = await rows<{ detail: { excluded: unknown } }>(
      postgres.pool,
      sql`SELECT detail FROM decision_records WHERE kind = 'placement' ORDER BY created_at DESC LIMIT 1`,
    )
    expect(explained[0]?.detail.excluded).toEqual([{ cellId: 'c1', constraints: ['memory'] }])
  })
})

describe('a stop', () => {
  it('waits for routers that have not acknowledged, five seconds at most', async () => {
    const scheduler = await platform.scheduler()
    const router = await platform.router('w0', scheduler)
    const cell = await platform.cell('c1', scheduler)
    const app = await platform.installation.startApp()
    scheduler.nudge()
    await eventually(() => router.endpointsOf(app.host).length === 1)
    router.acknowledges = false
    await platform.installation.stop(app)
    scheduler.nudge()
    await eventually(() => router.endpointsOf(app.host).length === 0)
    await eventually(async () => (await platform.instances())[0]?.unroutedAt != null)
    expect(cell.stopped).toEqual([])
    // Its address stays reserved for its app meanwhile.
    await eventually(() => cell.document?.reservedAddresses[0]?.appGuid === app.guid)
    platform.clock.advance(5_000)
    await eventually(() => cell.stopped.length === 1)
    expect((await rows(postgres.pool, sql`SELECT 1 FROM withdrawn_endpoints`)).length).toBe(1)
    platform.clock.advance(10 * 60_000)
    await eventually(async () => (await rows(postgres.pool, sql`SELECT 1 FROM withdrawn_endpoints`)).length === 0)
  })

  it('waits for routers too where somebody else has taken the instance out of the routes', async () => {
    const scheduler = await platform.scheduler()
    const router = await platform.router('w0', scheduler)
    const cell = await platform.cell('c1', scheduler)
    const app = await platform.installation.startApp()
    scheduler.nudge()
    await eventually(() => router.endpointsOf(app.host).length === 1)
    router.acknowledges = false
    // As the API writes it when one index is to be restarted.
    await execute(
      postgres.pool,
      sql`UPDATE actual_instances SET state = 'stopping', stop_reason = 'restart', stop_phase = NULL, routable = false`,
    )
    scheduler.nudge()
    await eventually(() => router.endpointsOf(app.host).length === 0)
    await eventually(async () => (await platform.instances())[0]?.unroutedAt != null)
    expect(cell.stopped).toEqual([])
    await router.acknowledge(router.messages.at(-1)!)
    await eventually(() => cell.stopped.length === 1, { timeoutMs: 4_000 })
  })

  it('waits for requests that are still being answered', async () => {
    const scheduler = await platform.scheduler()
    const router = await platform.router('w0', scheduler)
    const cell = await platform.cell('c1', scheduler)
    const app = await platform.installation.startApp()
    scheduler.nudge()
    await eventually(() => router.endpointsOf(app.host).length === 1)
    const [instanceGuid] = router.endpointsOf(app.host)
    router.acknowledges = false
    await platform.installation.stop(app)
    scheduler.nudge()
    await eventually(() => router.endpointsOf(app.host).length === 0)
    await router.acknowledge(router.messages.at(-1)!, [instanceGuid!])
    await eventually(async () => (await platform.instances())[0]?.unroutedAt != null)
    expect(cell.stopped).toEqual([])
    await router.acknowledge(router.messages.at(-1)!)
    await eventually(() => cell.stopped.length === 1, { timeoutMs: 4_000 })
  })

  it('goes on as soon as every router has acknowledged', async () => {
    const scheduler = await platform.scheduler()
    const router = await platform.router('w0', scheduler)
    const slow = await platform.router('w1', scheduler)
    const cell = await platform.cell('c1', scheduler)
    const app = await platform.installation.startApp()
    scheduler.nudge()
    await eventually(() => router.endpointsOf(app.host).length === 1 && slow.endpointsOf(app.host).length === 1)
    slow.acknowledges = false
    await platform.installation.stop(app)
    scheduler.nudge()
    await eventually(() => slow.endpointsOf(app.host).length === 0)
    expect(cell.stopped).toEqual([])
    await slow.acknowledge(slow.messages.at(-1)!)
    await eventually(() => cell.stopped.length === 1, { timeoutMs: 4_000 })
  })
})

describe('a crash', () => {
  it('restarts at once twice, then after 30 s; with events and log lines', async () => {
    const scheduler = await platform.scheduler()
    const cell = await platform.cell('c1', scheduler)
    cell.behave = () => 'crash'
    const app = await platform.installation.startApp()
    scheduler.nudge()
    const crashed = await eventually(async () => (await platform.instances()).find(({ state }) => state === 'crashed'))
    expect(crashed).toMatchObject({ crashCount: 3, cellId: null, crashReason: 'APP/PROC/WEB: Exited with status 1' })
    const events = await rows<{ type: string; data: unknown }>(
      postgres.pool,
      sql`SELECT type, data FROM audit_events WHERE target_guid = ${app.guid} ORDER BY type, created_at`,
    )
    expect(events.map(({ type }) => type)).toEqual([
      ...Array<string>(3).fill('app.crash'),
      ...Array<string>(3).fill('audit.app.process.crash'),
    ])
    expect(events[0]?.data).toMatchObject({ index: 0, reason: 'CRASHED', exit_status: 1, cell_id: 'c1' })
    expect(platform.lines.map(({ text }) => text)).toContain('Process has crashed with type: "web"')
    expect(platform.lines.some(({ text }) => text.startsWith(`App instance exited with guid ${app.guid} payload: {`))).toBe(true)

    cell.behave = () => 'run'
    platform.clock.advance(25_000)
    await cell.report()
    expect((await platform.instances())[0]?.state).toBe('crashed')
    platform.clock.advance(6_000)
    await cell.report() // the cell is not silent meanwhile
    await eventually(() => cell.running.length === 1)
    expect((await platform.instances())[0]?.crashCount).toBe(3)
  })

  it('starts a new count after five good minutes', async () => {
    const scheduler = await platform.scheduler()
    const cell = await platform.cell('c1', scheduler)
    await platform.installation.startApp()
    scheduler.nudge()
    for (const count of [1, 2, 1]) {
      const [seen] = await eventually(() => (cell.running.length === 1 ? cell.running : undefined))
      await eventually(async () => (await platform.instances())[0]?.state === 'running')
      if (count === 1) platform.clock.advance(5 * 60_000 + 1_000)
      await cell.report()
      await cell.crash(seen!.instanceGuid)
      await eventually(async () => (await platform.instances())[0]?.crashCount === (count === 2 ? 2 : 1))
    }
  })

  it("does not count starts that failed for the platform's sake", async () => {
    const scheduler = await platform.scheduler()
    const cell = await platform.cell('c1', scheduler)
    cell.behave = () => 'platform-fault'
    await platform.installation.startApp()
    scheduler.nudge()
    await eventually(async () => (await platform.instances())[0]?.placementError === 'blob store away')
    cell.behave = () => 'run'
    platform.clock.advance(6_000)
    await eventually(() => cell.running.length === 1)
    expect((await platform.instances())[0]).toMatchObject({ crashCount: 0 })
    expect(await rows(postgres.pool, sql`SELECT 1 FROM audit_events`)).toEqual([])
  })
})
