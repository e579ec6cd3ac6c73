import { withPostgres } from '@bloomery/testing'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Broker } from '../../broker.js'
import { TestHome } from '../../testing/broker-under-test.fixture.js'
import type { OsbCaller } from '../../testing/osb-caller.fixture.js'
import { figuresOf } from '../../testing/scrape.fixture.js'
import { createPool } from '@bloomery/database/sql'
import { POSTGRESQL, POSTGRESQL_PLANS } from './plans.js'

const [shared, small, large] = POSTGRESQL_PLANS.map(({ id }) => id) as [string, string, string]

async function ask(credentials: Record<string, string>, text: string): Promise<unknown[]> {
  const pool = createPool(credentials['uri'] ?? '', { max: 1 })
  try {
    return (await pool.query<Record<string, unknown>>(text)).rows
  } finally {
    await pool.end()
  }
}

describe('postgresql', () => {
  const state = withPostgres({ migrated: false })
  const home = new TestHome()
  let broker: Broker & { platform: OsbCaller }
  const instance = (plan = shared) => broker.platform.instance(POSTGRESQL.id, plan)
  beforeAll(async () => {
    broker = await home.start(state.url)
  }, 60_000)
  afterAll(async () => {
    await broker.close()
    await home.remove()
  }, 60_000)

  it('gives each instance a database that others cannot enter, and each binding a user', async () => {
    const [one, two] = [instance(), instance()]
    expect(await Promise.all([one.create(), two.create()])).toMatchObject([{ state: 'succeeded' }, { state: 'succeeded' }])
    const [first, second, stranger] = [await one.bind(), await one.bind(), await two.bind()]
    await ask(first.credentials, 'CREATE TABLE t (word text)')
    await ask(second.credentials, "ALTER TABLE t ADD COLUMN n int; INSERT INTO t VALUES ('ours', 1)")
    expect(await ask(first.credentials, 'SELECT * FROM t')).toEqual([{ word: 'ours', n: 1 }])
    const elsewhere = {
      ...stranger.credentials,
      uri: `${stranger.credentials['uri']}`.replace(/[^/]+$/, `${first.credentials['name']}`),
    }
    await expect(ask(elsewhere, 'SELECT 1')).rejects.toThrow(/permission denied/)
    await expect(ask({ uri: `${stranger.credentials['uri']}`.replace(/[^/]+$/, 'postgres') }, 'SELECT 1')).rejects.toThrow(
      /permission denied/,
    )
    await expect(ask(stranger.credentials, 'CREATE ROLE me')).rejects.toThrow(/permission denied/)

    const session = createPool(`${second.credentials['uri']}`, { max: 1 })
    await session.query('SELECT 1')
    const open = session.query('SELECT pg_sleep(30)')
    open.catch(() => undefined)
    expect(await one.unbind(second.guid)).toMatchObject({ state: 'succeeded' })
    await expect(open).rejects.toThrow()
    await session.end()
    await expect(ask(second.credentials, 'SELECT 1')).rejects.toThrow(/password|does not exist/)
    expect(await ask(first.credentials, 'SELECT count(*)::int AS n FROM t')).toEqual([{ n: 1 }])
    await one.remove()
    await expect(ask(first.credentials, 'SELECT 1')).rejects.toThrow()
    await two.remove()
  }, 60_000)

  it('keeps the data over backup, restore, and changes of the plan', async () => {
    const one = instance()
    await one.create()
    const before = await one.bind()
    await ask(before.credentials, 'CREATE TABLE t AS SELECT generate_series(1, 1000) AS n')
    expect(await one.update({ parameters: { backup: true } })).toMatchObject({ state: 'succeeded' })
    const { body } = await one.fetch()
    const backups = (body['parameters'] as { backups: { id: string; state: string; bytes: number }[] }).backups
    expect(backups).toMatchObject([{ state: 'made', by: 'request' }])
    await ask(before.credentials, 'DROP TABLE t')
    expect(await one.update({ parameters: { restore: backups[0]?.id } })).toMatchObject({ state: 'succeeded' })
    const count = 'SELECT count(*)::int AS n FROM t'
    expect(await ask(before.credentials, count)).toEqual([{ n: 1000 }])
    for (const plan of [small, large, shared]) {
      expect(await one.update({ plan_id: plan })).toMatchObject({ state: 'succeeded' })
      const { body: binding } = await broker.platform.call('GET', `${one.path}/service_bindings/${before.guid}`)
      expect(await ask(binding['credentials'] as Record<string, string>, count)).toEqual([{ n: 1000 }])
    }
    const figures = await figuresOf(broker.platform, one.guid)
    expect(figures).toMatchObject({ up: 1, data_limit_bytes: 1024 ** 3, connections: expect.any(Number) })
    expect(figures['data_bytes']).toBeGreaterThan(1_000)
    expect(figures['last_backup_timestamp_seconds']).toBeGreaterThan(0)
    expect(await one.remove()).toMatchObject({ state: 'succeeded' })
  }, 120_000)
})
