import { randomUUID } from 'node:crypto'
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

async function anAppThatRuns(instances: number) {
  const scheduler = await platform.scheduler()
  const router = await platform.router('w0', scheduler)
  const cell = await platform.cell('c1', scheduler)
  const app = await platform.installation.startApp({ instances })
  scheduler.nudge()
  await eventually(() => router.endpointsOf(app.host).length === instances)
  let fewest = instances
  router.onApplied = () => (fewest = Math.min(fewest, router.endpointsOf(app.host).length))
  return { scheduler, router, cell, app, fewestEndpoints: () => fewest }
}

const processes = (appGuid: string) =>
  rows<{ guid: string; type: string; instances: number; spec: string; deployment: string | null }>(
    postgres.pool,
    sql`SELECT guid, type, instances, current_spec_guid AS spec, deployment_guid AS deployment FROM processes
        WHERE app_guid = ${appGuid} ORDER BY type, created_at`,
  )

describe('a rolling deployment', () => {
  it.each([1, 4])('of %i instances goes start-first and ends with the new row', async (instances) => {
    const { scheduler, cell, app, fewestEndpoints } = await anAppThatRuns(instances)
    const worker = randomUUID()
    await platform.installation.addProcess({ guid: worker, appGuid: app.guid, type: 'worker', instances: 0, memoryMb: 64 })
    const droplet = randomUUID()
    await platform.installation.writeSpec(worker, droplet, 'current')
    const deployment = await platform.installation.deploy(app)
    const later = await platform.installation.writeSpec(worker, deployment.droplet, 'later')
    scheduler.nudge()
    await eventually(async () => (await platform.deployment(deployment.guid)).reason === 'DEPLOYED')
    expect(await platform.deployment(deployment.guid)).toEqual({ value: 'FINALIZED', reason: 'DEPLOYED', detail: null })
    await eventually(() => cell.running.length === instances)
    expect(cell.running.every(({ processGuid }) => processGuid === deployment.processGuid)).toBe(true)
    expect(fewestEndpoints()).toBe(instances)
    expect(await processes(app.guid)).toEqual([
      expect.objectContaining({ guid: deployment.processGuid, type: 'web', instances, deployment: null }),
      expect.objectContaining({ guid: worker, spec: later }),
    ])
    expect(platform.nudges).toContainEqual({ topic: 'changed', kind: 'deployment', guid: deployment.guid })
  })

  it('of a version that crashes leaves the old one serving, says why, and gives up', async () => {
    const { scheduler, cell, app, fewestEndpoints } = await anAppThatRuns(2)
    const before = await rows<{ droplet: string }>(postgres.pool, sql`SELECT current_droplet_guid AS droplet FROM apps`)
    const deployment = await platform.installation.deploy(app)
    cell.behave = ({ spec }) => (spec.processGuid === deployment.processGuid ? 'crash' : 'run')
    scheduler.nudge()
    const state = await eventually(async () => {
      const found = await platform.deployment(deployment.guid)
      return found.detail ? found : undefined
    })
    expect(state).toMatchObject({ value: 'ACTIVE', reason: 'DEPLOYING' })
    expect(state.detail).toMatch(/^Instance 0 of the new version crashed \(APP\/PROC\/WEB: Exited with status 1\)/)
    for (let minute = 0; minute < 5; minute++) {
      platform.clock.advance(60_000)
      await cell.report()
    }
    await eventually(async () => (await platform.deployment(deployment.guid)).value === 'FINALIZED')
    expect(await platform.deployment(deployment.guid)).toMatchObject({
      reason: 'CANCELED',
      detail: expect.stringContaining('crashed'),
    })
    expect(fewestEndpoints()).toBe(2)
    expect((await processes(app.guid)).map(({ guid, instances }) => [guid, instances])).toEqual([[app.processGuid, 2]])
    expect(await rows(postgres.pool, sql`SELECT current_droplet_guid AS droplet FROM apps`)).toEqual(before)
    await eventually(async () => (await platform.instances()).length === 2)
  })

  it('that is cancelled half way goes back to full strength before the new version goes', async () => {
    const { scheduler, cell, app, fewestEndpoints } = await anAppThatRuns(3)
    const deployment = await platform.installation.deploy(app)
    cell.behave = ({ spec, index }) => (spec.processGuid === deployment.processGuid && index > 0 ? 'hang' : 'run')
    scheduler.nudge()
    await eventually(async () =>
      (await processes(app.guid)).some(({ guid, instances }) => guid === app.processGuid && instances === 2),
    )
    await execute(
      postgres.pool,
      sql`UPDATE deployments SET status_reason = 'CANCELING', last_status_change_at = now() WHERE guid = ${deployment.guid}`,
    )
    scheduler.nudge()
    await eventually(async () => (await platform.deployment(deployment.guid)).reason === 'CANCELED')
    await eventually(() => cell.running.length === 3 && cell.held.size === 3)
    expect(cell.running.every(({ processGuid }) => processGuid === app.processGuid)).toBe(true)
    expect(fewestEndpoints()).toBe(3)
  })

  it('gives way to a newer one', async () => {
    const { scheduler, cell, app, fewestEndpoints } = await anAppThatRuns(2)
    const first = await platform.installation.deploy(app)
    cell.behave = ({ spec }) => (spec.processGuid === first.processGuid ? 'hang' : 'run')
    scheduler.nudge()
    await eventually(() => [...cell.held.values()].some(({ seen }) => seen.state === 'starting'))
    const second = await platform.installation.deploy(app)
    scheduler.nudge()
    await eventually(async () => (await platform.deployment(second.guid)).reason === 'DEPLOYED')
    expect(await platform.deployment(first.guid)).toMatchObject({ value: 'FINALIZED', reason: 'SUPERSEDED' })
    expect((await processes(app.guid)).map(({ guid }) => guid)).toEqual([second.processGuid])
    expect(fewestEndpoints()).toBe(2)
    await eventually(() => cell.held.size === 2)
  })

  it('of an app that is stopped meanwhile ends', async () => {
    const { scheduler, cell, app } = await anAppThatRuns(2)
    const deployment = await platform.installation.deploy(app)
    cell.behave = ({ spec }) => (spec.processGuid === deployment.processGuid ? 'hang' : 'run')
    scheduler.nudge()
    await eventually(() => [...cell.held.values()].some(({ seen }) => seen.state === 'starting'))
    await platform.installation.stop(app)
    scheduler.nudge()
    await eventually(async () => (await platform.deployment(deployment.guid)).reason === 'CANCELED')
    await eventually(() => cell.held.size === 0)
    expect((await processes(app.guid)).map(({ guid, instances }) => [guid, instances])).toEqual([[app.processGuid, 2]])
  })

  it('honours max_in_flight and web_instances', async () => {
    const { scheduler, cell, app } = await anAppThatRuns(1)
    const deployment = await platform.installation.deploy(app, { max_in_flight: 3, web_instances: 3 })
    scheduler.nudge()
    await eventually(async () => (await platform.deployment(deployment.guid)).reason === 'DEPLOYED')
    await eventually(() => cell.running.length === 3 && cell.held.size === 3)
  })
})
