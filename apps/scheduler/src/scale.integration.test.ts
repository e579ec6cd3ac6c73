import { jest } from '@jest/globals'
import { eventually, withPostgres } from '@bloomery/testing'
import { rows, sql } from '@bloomery/database/sql'
import { viewCells, planConvergence } from '@bloomery/domain'
import { readSnapshot } from './state/read-state.js'
import { emptyDatabase, TestPlatform } from './testing/test-platform.fixture.js'

jest.setTimeout(120_000)

const postgres = withPostgres()
let platform: TestPlatform
beforeEach(async () => {
  await emptyDatabase(postgres.pool)
  platform = await TestPlatform.prepare(postgres.url)
})
afterEach(() => platform.close())

describe('5,000 instances', () => {
  it('are placed, run and routed in seconds, and looked over in well under one', async () => {
    const scheduler = await platform.scheduler()
    const router = await platform.router('w0', scheduler)
    const cells = await Promise.all(
      ['a', 'b', 'c', 'd', 'e'].map((id) => platform.cell(id, scheduler, { memoryMb: 10_000_000, maxInstances: 2_000 })),
    )
    const apps: Awaited<ReturnType<typeof platform.installation.startApp>>[] = []
    for (let i = 0; i < 50; i++) apps.push(await platform.installation.startApp({ instances: 100 }))
    const begun = performance.now()
    scheduler.nudge()
    await eventually(() => apps.every(({ host }) => router.endpointsOf(host).length === 100), {
      timeoutMs: 60_000,
      intervalMs: 100,
    })
    const placedMs = performance.now() - begun
    for (const cell of cells) expect(cell.running.length).toBe(1_000)

    const lookedAt = performance.now()
    const snapshot = await readSnapshot(postgres.pool)
    const plan = planConvergence({
      ...snapshot,
      cells: viewCells(snapshot.cells, platform.clock.now()),
      now: platform.clock.now(),
    })
    const passMs = performance.now() - lookedAt
    expect(plan).toEqual([])
    expect(passMs).toBeLessThan(1_000)
    expect(placedMs).toBeLessThan(45_000)
    expect(await rows(postgres.pool, sql`SELECT 1 FROM actual_instances WHERE state = 'running'`)).toHaveLength(5_000)
    if (process.env['TEST_LOG']) process.stderr.write(`placed in ${placedMs} ms, one pass ${passMs} ms\n`)
  })
})
