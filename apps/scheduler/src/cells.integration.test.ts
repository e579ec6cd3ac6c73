import { jest } from '@jest/globals'
import { execute, rows, sql } from '@bloomery/database/sql'
import { eventually, withPostgres } from '@bloomery/testing'
import { FakeCell } from './testing/fake-cell.fixture.js'
import { emptyDatabase, TestPlatform } from './testing/test-platform.fixture.js'

jest.setTimeout(60_000)

const postgres = withPostgres()
let platform: TestPlatform
beforeEach(async () => {
  await emptyDatabase(postgres.pool)
  platform = await TestPlatform.prepare(postgres.url)
})
afterEach(() => platform.close())

/** Time passes; the cells that speak have spoken meanwhile. */
async function pass(ms: number, speaking: readonly FakeCell[]): Promise<void> {
  for (let left = ms; left > 0; left -= 10_000) {
    platform.clock.advance(Math.min(left, 10_000))
    await Promise.all(speaking.map((cell) => cell.report()))
  }
}

/** Two instances, one on each of two cells. */
async function onTwoCells() {
  const scheduler = await platform.scheduler()
  const router = await platform.router('w0', scheduler)
  const a = await platform.cell('a', scheduler)
  const b = await platform.cell('b', scheduler)
  const app = await platform.installation.startApp({ instances: 2 })
  scheduler.nudge()
  await eventually(() => router.endpointsOf(app.host).length === 2)
  expect([a.running.length, b.running.length]).toEqual([1, 1])
  return { scheduler, router, a, b, app }
}

describe('a cell that falls silent', () => {
  it('keeps its endpoints until the replacement runs; when it is back, its copy stops in order', async () => {
    const { router, a, b, app } = await onTwoCells()
    const [old] = b.running
    await b.silence()
    a.behave = () => 'hang'
    await pass(20_000, [a])
    await eventually(async () => (await platform.instances()).some(({ presence }) => presence === 'suspect'))
    await eventually(async () => (await platform.instances()).filter(({ cellId }) => cellId === 'a').length === 2)
    expect(router.endpointsOf(app.host)).toContain(old!.instanceGuid)

    await b.start()
    // The replacement does not run yet: the old copy is the one that stays.
    await eventually(async () =>
      (await platform.instances()).every(({ presence, state }) => presence === 'ordinary' && state === 'running'),
    )
    expect(b.running.map(({ instanceGuid }) => instanceGuid)).toEqual([old!.instanceGuid])
    await eventually(() => a.held.size === 1)

    a.behave = () => 'run'
    await b.silence()
    await pass(20_000, [a])
    await eventually(() => a.running.length === 2)
    await eventually(() => !router.endpointsOf(app.host).includes(old!.instanceGuid) && router.endpointsOf(app.host).length === 2)
    await b.start()
    await eventually(() => b.held.size === 0)
    expect(await platform.instances()).toHaveLength(2)
  })

  it('together with all others changes nothing', async () => {
    const { router, a, b, app } = await onTwoCells()
    const before = await platform.instances()
    await a.silence()
    await b.silence()
    platform.clock.advance(20_000)
    platform.clock.advance(30 * 60_000)
    await eventually(async () => router.messages.filter(({ type }) => type === 'heartbeat').length > 0)
    expect((await platform.instances()).map(({ instanceGuid, state }) => [instanceGuid, state])).toEqual(
      before.map(({ instanceGuid, state }) => [instanceGuid, state]),
    )
    expect(router.endpointsOf(app.host)).toHaveLength(2)
    await a.start()
    await b.start()
    expect([a.stopped, b.stopped]).toEqual([[], []])
  })
})

describe('a draining cell', () => {
  it('serves until the replacements do, then lets go', async () => {
    const { router, a, b, app } = await onTwoCells()
    let fewest = 2
    router.onApplied = () => (fewest = Math.min(fewest, router.endpointsOf(app.host).length))
    b.draining = true
    await b.report()
    await eventually(() => b.held.size === 0)
    expect(a.running).toHaveLength(2)
    expect(fewest).toBe(2)
    await eventually(async () => (await platform.instances()).length === 2)
  })
})

describe('an agent', () => {
  it('that starts anew is told of the same instances: nothing restarts', async () => {
    const scheduler = await platform.scheduler()
    const cell = await platform.cell('c1', scheduler)
    const app = await platform.installation.startApp({ instances: 3 })
    scheduler.nudge()
    await eventually(() => cell.running.length === 3)
    await eventually(async () => (await platform.instances()).every(({ state }) => state === 'running'))
    const guids = cell.running.map(({ instanceGuid }) => instanceGuid).sort()
    await cell.close()
    const again = new FakeCell('c1', await platform.identity('cell', 'c1'), scheduler.port)
    for (const [guid, held] of cell.held) again.held.set(guid, held)
    await again.start()
    await eventually(() => again.document?.instances.length === 3)
    expect(again.running.map(({ instanceGuid }) => instanceGuid).sort()).toEqual(guids)
    expect((await platform.instances(app.processGuid)).map(({ instanceGuid }) => instanceGuid).sort()).toEqual(guids)
    await again.close()
  })

  it('whose place was taken by a newer one is refused', async () => {
    const scheduler = await platform.scheduler()
    const old = await platform.cell('c1', scheduler)
    const newer = await platform.cell('c1', scheduler)
    await eventually(() => old.refusals.includes(409))
    expect(await old.register()).toBe(false)
    expect(await newer.report()).toBe(true)
  })

  it('that lost an instance gets it placed anew', async () => {
    const scheduler = await platform.scheduler()
    const cell = await platform.cell('c1', scheduler)
    const app = await platform.installation.startApp()
    scheduler.nudge()
    await eventually(async () => (await platform.instances(app.processGuid))[0]?.state === 'running')
    const [lost] = cell.running
    cell.held.clear()
    await eventually(() => cell.running.length === 1 && cell.running[0]!.instanceGuid !== lost!.instanceGuid)
    expect((await platform.instances(app.processGuid))[0]).toMatchObject({ crashCount: 0 })
  })

  it('is believed when rows were lost: what runs is adopted, not started twice', async () => {
    const scheduler = await platform.scheduler()
    const cell = await platform.cell('c1', scheduler)
    const app = await platform.installation.startApp({ instances: 2 })
    scheduler.nudge()
    await eventually(async () => (await platform.instances()).filter(({ state }) => state === 'running').length === 2)
    const guids = cell.running.map(({ instanceGuid }) => instanceGuid).sort()
    await scheduler.close()
    await execute(postgres.pool, sql`DELETE FROM actual_instances`)
    const next = await platform.scheduler('s2')
    cell.use(next.port)
    await eventually(
      async () => (await platform.instances(app.processGuid)).filter(({ state }) => state === 'running').length === 2,
      {
        timeoutMs: 15_000,
      },
    )
    expect(cell.running.map(({ instanceGuid }) => instanceGuid).sort()).toEqual(guids)
    expect(cell.stopped).toEqual([])
  })

  it('is told nothing by an empty database', async () => {
    const scheduler = await platform.scheduler()
    const cell = await platform.cell('c1', scheduler)
    await platform.installation.startApp()
    scheduler.nudge()
    await eventually(() => cell.running.length === 1)
    await scheduler.close()
    await execute(postgres.pool, sql`TRUNCATE apps, actual_instances CASCADE`)
    const next = await platform.scheduler('s2')
    cell.refusals.length = 0
    cell.use(next.port)
    await eventually(() => next.isLeading && cell.refusals.filter((status) => status === 503).length > 5)
    expect(cell.running).toHaveLength(1)
    expect(cell.stopped).toEqual([])
  })

  it('may have restarted an index by itself; the row follows', async () => {
    const scheduler = await platform.scheduler()
    const cell = await platform.cell('c1', scheduler)
    const app = await platform.installation.startApp()
    scheduler.nudge()
    await eventually(async () => (await platform.instances())[0]?.state === 'running')
    const [held] = [...cell.held.values()]
    const instanceGuid = 'restarted-by-the-cell'
    cell.held.clear()
    cell.held.set(instanceGuid, { ...held!, seen: { ...held!.seen, instanceGuid, restartedLocally: true } })
    await cell.report()
    expect((await platform.instances(app.processGuid))[0]).toMatchObject({ instanceGuid, crashCount: 1, state: 'running' })
    await eventually(() => cell.document?.instances[0]?.instanceGuid === instanceGuid)
    expect(cell.stopped).toEqual([])
    expect(await rows(postgres.pool, sql`SELECT 1 FROM audit_events WHERE type = 'app.crash'`)).toHaveLength(1)
  })
})
