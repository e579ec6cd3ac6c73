import { serverUser } from '@bloomery/embedded'
import { createPool } from '@bloomery/database/sql'
import { eventually, withPostgres } from '@bloomery/testing'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createConnection } from 'mysql2/promise'
import { type EngineUnderTest, engineUnderTest } from '../testing/sql-engine.fixture.js'
import type { ServerHost, Software } from '../servers/server-host.js'
import type { Engine, Grant, Instance } from './engine.js'
import { MysqlEngine } from './mysql/mysql.js'
import { mysqlSoftware } from './mysql/software.js'
import { PostgresqlEngine } from './postgresql/postgresql.js'
import { postgresSoftware } from './postgresql/software.js'

const MIB = 1024 * 1024

/** An engine with an instance that is bound, for the tests of a describe block. */
function withBoundInstance(software: Software, make: (servers: ServerHost) => Engine) {
  const state = withPostgres({ migrated: false })
  let tested: EngineUnderTest
  let instance: Instance
  let grant: Grant
  beforeAll(async () => {
    tested = await engineUnderTest(state.url, software, make)
    instance = tested.instance()
    await tested.engine.provision(instance, AbortSignal.timeout(60_000))
    grant = await tested.engine.bind(instance, tested.user())
  }, 120_000)
  afterAll(() => tested?.close(), 60_000)
  return {
    get tested() {
      return tested
    },
    get engine() {
      return tested.engine
    },
    get instance() {
      return instance
    },
    /** Where its user logs in. */
    get uri() {
      return String(grant.credentials['uri'])
    },
  }
}

const software = postgresSoftware({ image: undefined, owner: serverUser('bloomery-services') })

describe('an instance of postgresql that has outgrown its plan', () => {
  const given = withBoundInstance(software, (servers) => new PostgresqlEngine(servers))

  /** All in one session. */
  const ask = async (...texts: string[]): Promise<unknown[]> => {
    const pool = createPool(given.uri, { max: 1 })
    try {
      let last: unknown[] = []
      for (const text of texts) last = (await pool.query<Record<string, unknown>>(text)).rows
      return last
    } finally {
      await pool.end()
    }
  }
  const FULL = /has outgrown its plan|permission denied/

  it('cannot grow, whatever its client says', async () => {
    const { engine, instance } = given
    await ask(
      "CREATE TABLE t AS SELECT n, repeat('x', 1000) AS text FROM generate_series(1, 20000) n",
      'CREATE TABLE other (n int)',
      'CREATE TABLE parts (n int) PARTITION BY RANGE (n)',
      'CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (10)',
      'CREATE SCHEMA mine CREATE TABLE inner_table (n int)',
      'CREATE FUNCTION add() RETURNS void LANGUAGE sql SECURITY DEFINER AS $$ INSERT INTO other VALUES (1) $$',
    )
    const before = await engine.size(instance)
    expect(before).toBeGreaterThan(20 * MIB)
    const pool = createPool(given.uri, { max: 1 })
    const session = await pool.connect()
    session.on('error', () => undefined)
    await session.query('BEGIN')
    await session.query('CREATE TABLE begun_before (n int)')
    await engine.limit(instance, true)
    await expect(session.query('COMMIT')).rejects.toThrow()
    session.release(true)
    await pool.end()

    const tries = [
      'INSERT INTO other VALUES (1)',
      'INSERT INTO mine.inner_table VALUES (1)',
      'INSERT INTO part VALUES (1)',
      'INSERT INTO parts VALUES (1)',
      'UPDATE t SET text = text || text',
      'SELECT add()',
      'DO $$ BEGIN INSERT INTO other VALUES (1); END $$',
      'CREATE TABLE more AS SELECT * FROM t',
      'SELECT * INTO more FROM t',
      'CREATE TEMPORARY TABLE more AS SELECT * FROM t',
      'CREATE INDEX ON t (text)',
      'CREATE MATERIALIZED VIEW more AS SELECT * FROM t',
      'ALTER TABLE t ADD COLUMN more text DEFAULT random()::text',
      'ALTER TABLE other DISABLE TRIGGER ALL',
      'ALTER TABLE other DISABLE TRIGGER bloomery_limit',
      'DROP TRIGGER bloomery_limit ON other',
      'DROP SCHEMA bloomery_limit CASCADE',
      'DROP FUNCTION bloomery_limit.refuse() CASCADE',
      'DROP EVENT TRIGGER bloomery_limit_definitions',
      'DROP OWNED BY current_user',
      'ALTER EVENT TRIGGER bloomery_limit_definitions DISABLE',
      "SET session_replication_role = 'replica'",
      "SELECT lo_from_bytea(0, decode(repeat('00', 100000), 'hex'))",
      'SELECT lo_create(0)',
    ]
    for (const text of tries)
      for (const first of [['RESET ROLE'], ['SET default_transaction_read_only = off']])
        expect([text, await ask(...first, text).catch((error: unknown) => String(error))]).toEqual([
          text,
          expect.stringMatching(/outgrown its plan|permission denied|must be (the )?owner/),
        ])
    expect(await engine.size(instance)).toBeLessThan(before + MIB)
  }, 60_000)

  it('is backed up and restored nevertheless', async () => {
    const { engine, instance, tested } = given
    // The platform's own PostgreSQL has no programs for it.
    if (software.locate()?.['pg_dump'] === undefined) return
    await engine.backup(instance, tested.backupFile, AbortSignal.timeout(60_000))
    await engine.restore(instance, tested.backupFile, AbortSignal.timeout(60_000))
    expect(
      await ask("SELECT 1 FROM pg_event_trigger UNION ALL SELECT 1 FROM pg_trigger WHERE tgname = 'bloomery_limit'"),
    ).toEqual([])
    await engine.limit(instance, true)
    await expect(ask('INSERT INTO other VALUES (1)')).rejects.toThrow(FULL)
  }, 60_000)

  it('can be read, and gets below its limit by deleting, truncating and dropping', async () => {
    const { engine, instance } = given
    expect(await ask('SELECT count(*)::int AS n FROM t')).toEqual([{ n: 20_000 }])
    await ask('DELETE FROM t WHERE n > 10000', 'VACUUM FULL t')
    expect(await engine.size(instance)).toBeLessThan(20 * MIB)
    await ask('TRUNCATE t', 'DROP TABLE other', 'DROP SCHEMA mine CASCADE')
    expect(await engine.size(instance)).toBeLessThan(12 * MIB)
    await engine.limit(instance, false)
    await ask('CREATE TABLE again (n int)', 'INSERT INTO again VALUES (1)', 'INSERT INTO t VALUES (1)', 'SELECT lo_create(0)')
    expect(await ask("SELECT 1 FROM pg_namespace WHERE nspname = 'bloomery_limit'")).toEqual([])
  }, 60_000)
})

const mysql = mysqlSoftware({ image: undefined })
;(mysql.locate() ? describe : describe.skip)('an instance of mysql that has outgrown its plan', () => {
  const given = withBoundInstance(mysql, (servers) => new MysqlEngine(servers))

  const ask = async (...texts: string[]): Promise<unknown> => {
    const connection = await createConnection(given.uri.replace(/\?.*/, ''))
    try {
      let last: unknown
      for (const text of texts) [last] = await connection.query(text)
      return last
    } finally {
      await connection.end()
    }
  }

  it('cannot grow, not even by a routine of somebody who has left', async () => {
    const { engine, instance, tested } = given
    await ask(
      "CREATE TABLE t AS SELECT seq AS n, repeat('x', 1000) AS text FROM seq_1_to_20000",
      'CREATE TABLE other (n int)',
      'CREATE PROCEDURE own() INSERT INTO other VALUES (1)',
    )
    const leaver = tested.user()
    const session = await createConnection(String((await engine.bind(instance, leaver)).credentials['uri']).replace(/\?.*/, ''))
    await session.query('CREATE PROCEDURE inherited() INSERT INTO other VALUES (1)')
    await session.end()
    await engine.unbind(instance, leaver)
    await ask('CALL inherited()')
    const before = await engine.size(instance)
    expect(before).toBeGreaterThan(20 * MIB)
    await engine.limit(instance, true)
    for (const text of [
      'INSERT INTO other VALUES (1)',
      'UPDATE t SET text = concat(text, text)',
      'REPLACE INTO other VALUES (1)',
      'CALL own()',
      'CALL inherited()',
      'CREATE TABLE more AS SELECT * FROM t',
      'CREATE TEMPORARY TABLE more AS SELECT * FROM t',
      'ALTER TABLE t ADD COLUMN more text',
      'CREATE INDEX i ON t (n)',
      "SET ROLE 'none'; INSERT INTO other VALUES (1)",
      'GRANT INSERT ON other TO current_user',
    ])
      expect([text, await ask(text).catch((error: unknown) => String(error))]).toEqual([
        text,
        expect.stringMatching(/denied|syntax|not allowed/),
      ])
    expect(await ask('SELECT count(*) AS n FROM other')).toEqual([{ n: 1 }])
    // The server goes on writing out what it had taken before, pages later.
    expect(await engine.size(instance)).toBeLessThan(before + MIB)
  }, 60_000)

  it('can be read, and gets below its limit by deleting, truncating and dropping', async () => {
    const { engine, instance } = given
    await ask('DELETE FROM t WHERE n > 1000')
    // Its users cannot give the room of deleted rows back: that is done for them.
    await eventually(
      async () => {
        await engine.reclaim?.(instance)
        return (await engine.size(instance)) < 10 * MIB
      },
      { timeoutMs: 20_000 },
    )
    await ask('TRUNCATE t', 'DROP TABLE other')
    await engine.limit(instance, false)
    await ask('CREATE TABLE again (n int)', 'INSERT INTO again VALUES (1)', 'INSERT INTO t (n) VALUES (1)')
  }, 60_000)
})
