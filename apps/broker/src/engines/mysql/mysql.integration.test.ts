import { withPostgres } from '@bloomery/testing'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createConnection } from 'mysql2/promise'
import type { Broker } from '../../broker.js'
import { TestHome } from '../../testing/broker-under-test.fixture.js'
import type { OsbCaller } from '../../testing/osb-caller.fixture.js'
import { figuresOf } from '../../testing/scrape.fixture.js'
import { MYSQL, MYSQL_PLANS } from './plans.js'
import { mysqlSoftware } from './software.js'

const [shared, small, large] = MYSQL_PLANS.map(({ id }) => id) as [string, string, string]

async function ask(credentials: Record<string, string>, ...texts: string[]): Promise<unknown> {
  const connection = await createConnection((credentials['uri'] ?? '').replace(/\?.*/, ''))
  try {
    let last: unknown
    for (const text of texts) [last] = await connection.query(text)
    return last
  } finally {
    await connection.end()
  }
}

const present = mysqlSoftware({ image: undefined }).locate() !== undefined
if (!present) console.warn('There is no mariadb-server on this machine: the offering mysql is NOT tested here.')
const describeIfPresent = present ? describe : describe.skip

describeIfPresent('mysql', () => {
  const state = withPostgres({ migrated: false })
  const home = new TestHome()
  let broker: Broker & { platform: OsbCaller }
  const instance = (plan = shared) => broker.platform.instance(MYSQL.id, plan)
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
    await ask(second.credentials, 'CREATE TABLE t (word text)', 'CREATE VIEW v AS SELECT word FROM t')
    await ask(
      second.credentials,
      'CREATE TRIGGER up BEFORE INSERT ON t FOR EACH ROW SET NEW.word = upper(NEW.word)',
      "CREATE FUNCTION greet() RETURNS text DETERMINISTIC RETURN 'hello'",
    )
    await ask(first.credentials, 'ALTER TABLE t ADD COLUMN n int', "INSERT INTO t VALUES ('ours €', 1)")
    expect(await ask(second.credentials, 'SELECT * FROM t')).toEqual([{ word: 'OURS €', n: 1 }])
    await expect(ask(stranger.credentials, `SELECT * FROM ${first.credentials['name']}.t`)).rejects.toThrow(/denied/)
    await expect(ask(stranger.credentials, 'SELECT * FROM mysql.user')).rejects.toThrow(/denied/)
    await expect(ask(stranger.credentials, 'CREATE DATABASE other')).rejects.toThrow(/denied/)
    await expect(ask(stranger.credentials, "SELECT 1 INTO OUTFILE '/tmp/x'")).rejects.toThrow(/denied/)

    const session = await createConnection(String(second.credentials['uri']).replace(/\?.*/, ''))
    session.on('error', () => undefined)
    const open = session.query('SELECT sleep(30)')
    open.catch(() => undefined)
    expect(await one.unbind(second.guid)).toMatchObject({ state: 'succeeded' })
    await expect(open).rejects.toThrow()
    await expect(ask(second.credentials, 'SELECT 1')).rejects.toThrow(/denied/)
    // What the departed has made goes on.
    await ask(first.credentials, "INSERT INTO t (word) VALUES ('later')")
    expect(await ask(first.credentials, 'SELECT word, greet() AS said FROM v')).toEqual([
      { word: 'OURS €', said: 'hello' },
      { word: 'LATER', said: 'hello' },
    ])
    await one.remove()
    await expect(ask(first.credentials, 'SELECT 1')).rejects.toThrow()
    await two.remove()
  }, 90_000)

  it('keeps the data over backup, restore, and changes of the plan', async () => {
    const one = instance()
    await one.create()
    const binding = await one.bind()
    await ask(binding.credentials, 'CREATE TABLE t AS SELECT seq AS n FROM seq_1_to_1000')
    expect(await one.update({ parameters: { backup: true } })).toMatchObject({ state: 'succeeded' })
    const { body } = await one.fetch()
    const [backup] = (body['parameters'] as { backups: { id: string; state: string }[] }).backups
    await ask(binding.credentials, 'DROP TABLE t', 'CREATE TABLE u (n int)')
    expect(await one.update({ parameters: { restore: backup?.id } })).toMatchObject({ state: 'succeeded' })
    const count = 'SELECT count(*) AS n FROM t'
    expect(await ask(binding.credentials, count)).toEqual([{ n: 1000 }])
    expect(await ask(binding.credentials, 'SHOW TABLES')).toHaveLength(1)
    for (const plan of [small, large, shared]) {
      expect(await one.update({ plan_id: plan })).toMatchObject({ state: 'succeeded' })
      const { body: found } = await broker.platform.call('GET', `${one.path}/service_bindings/${binding.guid}`)
      expect(await ask(found['credentials'] as Record<string, string>, count)).toEqual([{ n: 1000 }])
    }
    const figures = await figuresOf(broker.platform, one.guid)
    expect(figures).toMatchObject({ up: 1, data_limit_bytes: 1024 ** 3, connections: expect.any(Number) })
    expect(figures['data_bytes']).toBeGreaterThan(1_000)
    expect(figures['last_backup_timestamp_seconds']).toBeGreaterThan(0)
    expect(await one.remove()).toMatchObject({ state: 'succeeded' })
  }, 180_000)
})
