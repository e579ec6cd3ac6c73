import { randomUUID } from 'node:crypto'
import { execute, rows, sql } from '@bloomery/database/sql'
import { eventually, withPostgres } from '@bloomery/testing'
import type { FakeCell } from '../testing/fake-cell.fixture.js'
import { TestPlatform } from '../testing/test-platform.fixture.js'

const postgres = withPostgres()
let platform: TestPlatform
let cell: FakeCell
beforeAll(async () => {
  platform = await TestPlatform.prepare(postgres.url)
  cell = await platform.cell('a', await platform.scheduler())
})
afterAll(() => platform.close())

describe('what a cell keeps without need', () => {
  it('is told by its agent alone, stands under the cell, and goes when an operator asks', async () => {
    const told = { path: 'droplets/x', kind: 'droplet', reason: 'deleted', bytes: 12 }
    const tell = (leftovers: readonly unknown[], tidied = false, epoch = cell.epoch) =>
      cell.ask('/v1/cells/leftovers', { epoch, leftovers, tidied })
    expect((await tell([told])).status).toBe(204)
    expect((await tell([], false, randomUUID())).status).toBe(409)
    expect((await tell([{ path: 'x' }])).status).toBe(400)
    const present = () =>
      rows<{ machine: string; path: string }>(postgres.pool, sql`SELECT node_id AS machine, path FROM machine_leftovers`)
    expect(await present()).toEqual([{ machine: 'cell:a', path: 'droplets/x' }])
    await execute(postgres.pool, sql`UPDATE machine_leftovers SET asked_at = now()`)
    await eventually(() => cell.leftoversAsked)
    // The wish outlives a look that comes before it was fulfilled.
    await tell([told, { ...told, path: 'droplets/y' }])
    expect(await rows(postgres.pool, sql`SELECT 1 FROM machine_leftovers WHERE asked_at IS NOT NULL`)).toHaveLength(2)
    await tell([], true)
    await eventually(() => !cell.leftoversAsked)
    expect(await present()).toEqual([])
  })

  it('droplets count as deleted when no app has them any more', async () => {
    const { guid: app } = await platform.installation.startApp()
    const droplet = (sha256: string, state: string) =>
      execute(
        postgres.pool,
        sql`INSERT INTO droplets (guid, app_guid, state, sha256) VALUES (${randomUUID()}, ${app}, ${state}, ${sha256})`,
      )
    await droplet('kept', 'STAGED')
    await droplet('expired', 'EXPIRED')
    await droplet('expired-here-kept-there', 'EXPIRED')
    await droplet('expired-here-kept-there', 'STAGED')
    const asked = ['kept', 'expired', 'expired-here-kept-there', 'unheard-of']
    const answer = await cell.ask('/v1/cells/droplets/deleted', { epoch: cell.epoch, sha256s: asked })
    expect(answer).toEqual({ status: 200, json: { sha256s: ['expired', 'unheard-of'] } })
    expect((await cell.ask('/v1/cells/droplets/deleted', { epoch: randomUUID(), sha256s: asked })).status).toBe(409)
  })
})
