import { execute, rows, sql } from '@bloomery/database/sql'
import { withPostgres } from '@bloomery/testing'
import { TestPlatform } from '../testing/test-platform.fixture.js'
import { pruneState } from './prune.js'

const postgres = withPostgres()
let platform: TestPlatform
beforeAll(async () => {
  platform = await TestPlatform.prepare(postgres.url)
})
afterAll(() => platform.close())

const versions = async () =>
  (await rows<{ version: number }>(postgres.pool, sql`SELECT version FROM run_specs ORDER BY version`)).map((row) => row.version)

describe('pruning', () => {
  it('keeps the current spec, newer ones, those of instances, and what is young', async () => {
    const app = await platform.installation.startApp()
    for (let i = 0; i < 3; i++) await platform.installation.restart(app)
    await platform.installation.writeSpec(app.processGuid, 'droplet', 'later')
    await pruneState(postgres.pool)
    expect(await versions()).toEqual([1, 2, 3, 4, 5])
    await execute(postgres.pool, sql`UPDATE run_specs SET created_at = now() - interval '2 hours'`)
    await execute(
      postgres.pool,
      sql`INSERT INTO actual_instances (process_guid, spec_version, index, app_guid, process_type, spec_guid, state, memory_mb, disk_mb)
          SELECT process_guid, 2, 0, app_guid, 'web', guid, 'running', 1, 1 FROM run_specs WHERE version = 2`,
    )
    await pruneState(postgres.pool)
    expect(await versions()).toEqual([2, 4, 5])
    await platform.installation.delete(app)
    await execute(postgres.pool, sql`DELETE FROM actual_instances`)
    await pruneState(postgres.pool)
    expect(await versions()).toEqual([])
  })

  it('forgets cells that have been silent for a day, unless something was left on them', async () => {
    for (const [id, silent] of [
      ['lively', '1 minute'],
      ['gone', '2 days'],
      ['holding', '2 days'],
    ] as const)
      await execute(
        postgres.pool,
        sql`INSERT INTO cells (id, epoch, address, engine, stacks, memory_mb, disk_mb, last_seen_at)
            VALUES (${id}, 'e', '10.0.0.1', 'docker', '{}', 1, 1, now() - ${silent}::interval)`,
      )
    await execute(
      postgres.pool,
      sql`INSERT INTO actual_instances (process_guid, spec_version, index, app_guid, process_type, spec_guid, cell_id, state, memory_mb, disk_mb)
          VALUES ('p', 1, 0, 'a', 'web', 's', 'holding', 'running', 1, 1)`,
    )
    await pruneState(postgres.pool)
    const left = await rows<{ id: string }>(postgres.pool, sql`SELECT id FROM cells ORDER BY id`)
    expect(left.map(({ id }) => id)).toEqual(['holding', 'lively'])
  })
})
