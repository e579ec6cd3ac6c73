import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { createPool, type Pool } from '@bloomery/database/sql'
import { loadKeyring } from '@bloomery/secrets'
import { eventually, withPostgres } from '@bloomery/testing'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { join } from 'node:path'
import { adminPool } from './engines/postgresql/software.js'
import { POSTGRESQL, POSTGRESQL_PLANS } from './engines/postgresql/plans.js'
import { findServer } from './state/servers.js'
import { inBrokerSchema } from './state/schema.js'
import { Vault } from './state/vault.js'
import { ACCOUNT, TestHome } from './testing/broker-under-test.fixture.js'
import { BrokerProcess, buildBroker } from './testing/broker-process.fixture.js'
import { OsbCaller } from './testing/osb-caller.fixture.js'

const [PLAN] = POSTGRESQL_PLANS.filter(({ style }) => style === 'shared').map(({ id }) => id)
const OTHER_PLAN = POSTGRESQL_PLANS.find(({ style }) => style === 'dedicated')?.id
/** Moments after a request was sent, at which the broker dies: before it was read, while it is worked on, about its end. */
const MOMENTS_MS = process.env['BLOOMERY_TEST_FULL'] ? [0, 4, 10, 25, 60, 150] : [0, 15, 60, 150]

describe('a broker that is killed', () => {
  const state = withPostgres({ migrated: false })
  const home = new TestHome()
  let process_: BrokerProcess
  let platform: OsbCaller
  let rows: Pool
  let admin: Pool
  beforeAll(async () => {
    const env = home.environment(state.url)
    const keyring = loadKeyring(env['BLOOMERY_KEYRING_FILE'] ?? '', { create: true })
    process_ = new BrokerProcess(await buildBroker(), env)
    platform = new OsbCaller(await process_.start(), ACCOUNT)
    rows = createPool(inBrokerSchema(state.url), { max: 2 })
    // The first instance brings the server.
    const first = platform.instance(POSTGRESQL.id, PLAN ?? '')
    expect(await first.create()).toEqual({ state: 'succeeded' })
    await first.remove()
    const record = await findServer(rows, 'postgresql-shared')
    if (!record) throw new Error('there is no server')
    const secret = new Vault(keyring).open(record.secret, 'server:postgresql-shared')
    const folder = join(home.home, 'services')
    admin = adminPool(
      { name: record.name, folder, host: '127.0.0.1', ports: record.ports, secret, memoryMb: 0, diskMb: 0 },
      'postgres',
      2,
    )
  }, 120_000)
  afterAll(async () => {
    await process_.end('SIGTERM')
    await admin.end()
    await rows.end()
    await home.remove()
  }, 60_000)

  /** Sends the request, kills the broker after a while, starts it anew. The answer is lost, as it often is. */
  async function killDuring(request: () => Promise<unknown>, afterMs: number): Promise<void> {
    const answer = request().catch(() => undefined)
    await delay(afterMs)
    await process_.end('SIGKILL')
    await answer
    platform = new OsbCaller(await process_.start(), ACCOUNT)
  }
  const onServer = async () => ({
    databases: (
      await admin.query<{ name: string }>("SELECT datname AS name FROM pg_database WHERE datname ~ '^[dn][0-9a-f]{22}'")
    ).rows,
    roles: (await admin.query<{ name: string }>("SELECT rolname AS name FROM pg_roles WHERE rolname ~ '^[uo][0-9a-f]{22}'")).rows,
  })
  const NOTHING = { databases: [], roles: [] }
  const untilQuiet = () =>
    eventually(async () => (await rows.query("SELECT 1 FROM operations WHERE state = 'in progress'")).rowCount === 0, {
      timeoutMs: 30_000,
      what: 'the end of all operations',
    })
  const removed = async (path: string): Promise<void> => {
    const query = `?service_id=${POSTGRESQL.id}&plan_id=${PLAN}&accepts_incomplete=true`
    await eventually(async () => {
      const { status } = await platform.call('DELETE', path + query)
      return status === 410 || status === 200
    })
  }

  it.each(MOMENTS_MS)(
    '%i ms after a provision was asked for, makes it all the same, or knows nothing of it',
    async (afterMs) => {
      const guid = randomUUID()
      const instance = () => platform.instance(POSTGRESQL.id, PLAN ?? '', guid)
      await killDuring(() => instance().create(), afterMs)
      await untilQuiet()
      // A platform that lost the answer asks for the deletion (orphan mitigation), or for the same again.
      expect(await instance().create()).toEqual({ state: 'succeeded' })
      expect((await instance().bind()).credentials['uri']).toMatch(/^postgres:/)
      await removed(instance().path)
      expect(await onServer()).toEqual(NOTHING)
    },
    60_000,
  )

  it.each(MOMENTS_MS)(
    '%i ms after a bind, gives the same credentials or none',
    async (afterMs) => {
      const instance = platform.instance(POSTGRESQL.id, PLAN ?? '')
      await instance.create()
      const binding = randomUUID()
      await killDuring(() => instance.bind(binding), afterMs)
      await untilQuiet()
      const again = platform.instance(POSTGRESQL.id, PLAN ?? '', instance.guid)
      const { credentials } = await again.bind(binding)
      const pool = createPool(String(credentials['uri']), { max: 1 })
      expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
      await pool.end()
      await again.unbind(binding)
      expect((await onServer()).roles).toHaveLength(1)
      await removed(instance.path)
      expect(await onServer()).toEqual(NOTHING)
    },
    60_000,
  )

  it.each(MOMENTS_MS)(
    '%i ms after a deletion, leaves neither database nor user',
    async (afterMs) => {
      const instance = platform.instance(POSTGRESQL.id, PLAN ?? '')
      await instance.create()
      await instance.bind()
      await killDuring(() => instance.remove(), afterMs)
      await untilQuiet()
      await removed(instance.path)
      expect(await onServer()).toEqual(NOTHING)
      expect((await rows.query('SELECT 1 FROM instances UNION ALL SELECT 1 FROM bindings')).rowCount).toBe(0)
    },
    60_000,
  )

  it.each(MOMENTS_MS)(
    '%i ms after a backup was asked for, has made one when the request comes again, and not two',
    async (afterMs) => {
      const instance = platform.instance(POSTGRESQL.id, PLAN ?? '')
      await instance.create()
      const request = {
        body: { service_id: POSTGRESQL.id, parameters: { backup: true } },
        headers: { 'x-broker-api-request-identity': randomUUID() },
      }
      const ask = () => platform.call('PATCH', `${instance.path}?accepts_incomplete=true`, request)
      await killDuring(ask, afterMs)
      await untilQuiet()
      expect(await platform.follow(instance.path, await ask())).toMatchObject({ state: 'succeeded' })
      expect(await platform.follow(instance.path, await ask())).toMatchObject({ state: 'succeeded' })
      const made = await rows.query('SELECT state FROM backups WHERE instance_guid = $1', [instance.guid])
      expect(made.rows).toEqual([{ state: 'made' }])
      await removed(instance.path)
    },
    60_000,
  )

  it.each([30, 900])(
    '%i ms after a move to a server of its own, loses no row and leaves no server behind',
    async (afterMs) => {
      const instance = platform.instance(POSTGRESQL.id, PLAN ?? '')
      await instance.create()
      const binding = await instance.bind()
      const ask = async (uri: unknown, text: string) => {
        const pool = createPool(String(uri), { max: 1 })
        return (await pool.query(text).finally(() => pool.end())).rows as unknown[]
      }
      await ask(binding.credentials['uri'], 'CREATE TABLE t AS SELECT generate_series(1, 100) AS n')
      await killDuring(() => instance.update({ plan_id: OTHER_PLAN }), afterMs)
      await untilQuiet()
      const { body } = await platform.call('GET', `${instance.path}/service_bindings/${binding.guid}`)
      expect(await ask((body['credentials'] as { uri: string }).uri, 'SELECT count(*)::int AS n FROM t')).toEqual([{ n: 100 }])
      await removed(instance.path)
      await untilQuiet()
      expect(await onServer()).toEqual(NOTHING)
      expect((await rows.query("SELECT name FROM servers WHERE name <> 'postgresql-shared'")).rows).toEqual([])
    },
    90_000,
  )
})
