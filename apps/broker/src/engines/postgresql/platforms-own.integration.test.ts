import { createPool } from '@bloomery/database/sql'
import { serverUser } from '@bloomery/embedded'
import { withPostgres } from '@bloomery/testing'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { type EngineUnderTest, engineUnderTest } from '../../testing/sql-engine.fixture.js'
import { type Grant, type Instance, ServiceFault } from '../engine.js'
import { serverOf } from '../placement.js'
import { PostgresqlEngine } from './postgresql.js'
import { postgresSoftware } from './software.js'

describe('postgresql on the server that the platform itself runs on', () => {
  const state = withPostgres({ migrated: false })
  const whole = postgresSoftware({ image: undefined, owner: serverUser('bloomery-services') })
  const { postgres, initdb, 'platform-postgres': own } = whole.locate() ?? {}
  let installed = false
  let tested: EngineUnderTest
  let instance: Instance
  let grant: Grant
  beforeAll(async () => {
    const alone = own === undefined ? { postgres, initdb } : { postgres: own, initdb: own.replace(/postgres$/, 'initdb') }
    const software = { ...whole, locate: () => (installed ? whole.locate() : (alone as Record<string, string>)) }
    tested = await engineUnderTest(state.url, software, (servers) => new PostgresqlEngine(servers))
    instance = tested.instance()
    await tested.engine.provision(instance, AbortSignal.timeout(60_000))
    grant = await tested.engine.bind(instance, tested.user())
    await ask('CREATE TABLE t AS SELECT 1 AS one')
  }, 90_000)
  afterAll(() => tested?.close(), 60_000)
  const ask = async (text: string): Promise<unknown[]> => {
    const pool = createPool(String(grant.credentials['uri']), { max: 1 })
    return (await pool.query<Record<string, unknown>>(text).finally(() => pool.end())).rows
  }

  it('says why it can neither be backed up nor moved, and what to do; what was begun is taken back', async () => {
    const { engine } = tested
    const why = /needs the program pg_dump.*apt-get install postgresql/s
    const backup = engine.backup(instance, tested.backupFile, AbortSignal.timeout(60_000))
    await expect(backup).rejects.toThrow(ServiceFault)
    await expect(backup).rejects.toThrow(why)
    const [, small] = engine.plans
    const move = engine.copy(instance, { ...instance, plan: small ?? instance.plan }, AbortSignal.timeout(60_000))
    await expect(move).rejects.toThrow(why)
    const user = tested.user()
    await engine.reopen(instance, [user])
    grant = await engine.bind(instance, user)
    expect(await ask('SELECT one FROM t')).toEqual([{ one: 1 }])
  }, 60_000)

  it('goes on with its data once another version is installed', async () => {
    if (own === undefined) return
    installed = true
    await tested.restart(serverOf('postgresql', instance, { memoryMb: 400, diskMb: 20_480 }))
    expect(await ask('SELECT one FROM t')).toEqual([{ one: 1 }])
    const backup = tested.engine.backup(instance, tested.backupFile, AbortSignal.timeout(60_000))
    // Programs of an older server do not dump a newer one.
    await backup.catch((error: unknown) => expect(String(error)).toMatch(/newer than the programs/))
  }, 60_000)
})
