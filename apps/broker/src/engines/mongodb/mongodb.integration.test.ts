import { missingForServer, SERVER_SOFTWARE_REMEDY } from '@bloomery/mongo-gate'
import { eventually, withPostgres } from '@bloomery/testing'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { MongoClient, type Db } from 'mongodb'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Broker } from '../../broker.js'
import { findProgram } from '../../servers/programs.js'
import { TestHome } from '../../testing/broker-under-test.fixture.js'
import { buildGateProgram } from '../../testing/gate-program.fixture.js'
import type { OsbCaller } from '../../testing/osb-caller.fixture.js'
import { MONGODB, DEVELOPMENT_PLANS } from './plans.js'

const [small, large] = DEVELOPMENT_PLANS.map(({ id }) => id) as [string, string]
const sources = join(import.meta.dirname, '../../../../../packages/mongo-gate/server')
const missing = await missingForServer({ sources, target: '/nonexistent', find: findProgram })
if (missing !== undefined) process.stderr.write(`LEFT OUT: the bundled MongoDB: ${missing} (${SERVER_SOFTWARE_REMEDY})\n`)

;(missing === undefined ? describe : describe.skip)('mongodb', () => {
  const state = withPostgres({ migrated: false })
  const home = new TestHome()
  const clients: MongoClient[] = []
  let broker: Broker & { platform: OsbCaller }
  const instance = (plan = small) => broker.platform.instance(MONGODB.id, plan)
  beforeAll(async () => {
    broker = await home.start(state.url, { gateProgram: await buildGateProgram() })
  }, 180_000)
  afterAll(async () => {
    await Promise.all(clients.map((client) => client.close()))
    await broker?.close()
    await home.remove()
  }, 60_000)

  const connect = async ({ uri }: { uri?: unknown }): Promise<Db> => {
    const client = new MongoClient(String(uri), { serverSelectionTimeoutMS: 5_000 })
    clients.push(client)
    return (await client.connect()).db()
  }
  /** Of this test's instances. */
  const pidsOf = (program: string): number[] =>
    readdirSync('/proc')
      .filter((pid) => /^\d+$/.test(pid))
      .filter((pid) => {
        try {
          const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1')
          return command.includes(program) && command.includes(home.home)
        } catch {
          return false // it ended meanwhile
        }
      })
      .map(Number)
  const count = async (db: Db): Promise<number> => db.collection('things').countDocuments()

  it('is named as what it is', async () => {
    const { body } = await broker.platform.call('GET', '/v2/catalog')
    const services = body['services'] as { name: string; plans: { name: string; description: string }[] }[]
    for (const plan of services.find(({ name }) => name === 'mongodb')?.plans ?? []) {
      expect(plan.name).toMatch(/^development/)
      expect(plan.description).toMatch(/not MongoDB: no transactions, change streams, text search or replica sets/)
    }
  })

  it('gives each instance a server, and each binding a user of its own', async () => {
    const [one, two] = [instance(), instance()]
    expect(await Promise.all([one.create(), two.create()])).toMatchObject([{ state: 'succeeded' }, { state: 'succeeded' }])
    const [first, second, stranger] = [await one.bind(), await one.bind(), await two.bind()]
    const [db, other] = [await connect(first.credentials), await connect(second.credentials)]
    await db.collection('things').insertOne({ word: 'ours' })
    expect(await other.collection('things').findOne({}, { projection: { _id: 0 } })).toEqual({ word: 'ours' })
    expect(await count(await connect(stranger.credentials))).toBe(0)
    const elsewhere = `${stranger.credentials['uri']}`.replace(
      /@[^/]+/,
      `@${first.credentials['host']}:${first.credentials['port']}`,
    )
    await expect(connect({ uri: elsewhere })).rejects.toThrow(/uthentication failed/)

    expect(await one.unbind(second.guid)).toMatchObject({ state: 'succeeded' })
    await expect(count(other)).rejects.toThrow(/uthentication failed|closed/)
    await expect(connect(second.credentials)).rejects.toThrow(/uthentication failed/)
    expect(await count(db)).toBe(1)
    await one.remove()
    await expect(connect(first.credentials)).rejects.toThrow()
    await two.remove()
  }, 60_000)

  it('keeps data and users over backup, restore, plan changes and a crash', async () => {
    const one = instance()
    await one.create()
    const { credentials } = await one.bind()
    const db = await connect(credentials)
    await db.collection('things').insertMany(Array.from({ length: 3000 }, (_, n) => ({ n, text: 'x'.repeat(200) })))
    expect(await one.update({ parameters: { backup: true } })).toMatchObject({ state: 'succeeded' })
    const { body } = await one.fetch()
    const [backup] = (body['parameters'] as { backups: { id: string; state: string }[] }).backups
    expect(backup).toMatchObject({ state: 'made' })
    await db.collection('things').drop()
    expect(await one.update({ parameters: { restore: backup?.id } })).toMatchObject({ state: 'succeeded' })
    expect(await count(db)).toBe(3000)
    for (const plan of [large, small]) {
      expect(await one.update({ plan_id: plan })).toMatchObject({ state: 'succeeded' })
      expect(await eventually(() => count(db))).toBe(3000)
    }
    // The server behind the gate dies, then the gate itself: each is started again, and no server is ever there without its gate.
    const [server = 0] = pidsOf('DevelopmentServer')
    process.kill(server, 'SIGKILL')
    expect(await eventually(() => count(db), { timeoutMs: 20_000 })).toBe(3000)
    const [gate = 0] = pidsOf('mongo-gate.entry.js')
    const [orphan = 0] = pidsOf('DevelopmentServer')
    process.kill(gate, 'SIGKILL')
    await eventually(() => !pidsOf('DevelopmentServer').includes(orphan))
    expect(await eventually(() => count(db), { timeoutMs: 20_000 })).toBe(3000)
    const metrics = await broker.platform.call('GET', '/metrics')
    expect(JSON.stringify(metrics.body)).toMatch(/bloomery_service_memory_bytes\{instance=/)
    expect(await one.remove()).toMatchObject({ state: 'succeeded' })
  }, 120_000)
})
