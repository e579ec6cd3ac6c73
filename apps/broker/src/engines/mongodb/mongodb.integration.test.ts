import { missingForServer, SERVER_SOFTWARE_REMEDY } from '@bloomery/mongo-gate'
import { eventually, withPostgres } from '@bloomery/testing'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Broker } from '../../broker.js'
import { findProgram } from '../../servers/programs.js'
import { TestHome } from '../../testing/broker-under-test.fixture.js'
import { buildGateProgram } from '../../testing/gate-program.fixture.js'
import { countThings, MongodbClients, tryBackupAndRestore, tryServersOfTheirOwn } from '../../testing/mongodb.fixture.js'
import type { OsbCaller } from '../../testing/osb-caller.fixture.js'
import { MONGODB, DEVELOPMENT_PLANS } from './plans.js'

const [small, large] = DEVELOPMENT_PLANS.map(({ id }) => id) as [string, string]
const sources = join(import.meta.dirname, '../../../../../packages/mongo-gate/server')
const missing = await missingForServer({ sources, target: '/nonexistent', find: findProgram })
if (missing !== undefined) process.stderr.write(`LEFT OUT: the bundled MongoDB: ${missing} (${SERVER_SOFTWARE_REMEDY})\n`)

;(missing === undefined ? describe : describe.skip)('mongodb', () => {
  const state = withPostgres({ migrated: false })
  const home = new TestHome()
  const clients = new MongodbClients()
  let broker: Broker & { platform: OsbCaller }
  const instance = (plan = small) => broker.platform.instance(MONGODB.id, plan)
  beforeAll(async () => {
    broker = await home.start(state.url, { gateProgram: await buildGateProgram() })
  }, 180_000)
  afterAll(async () => {
    await clients.close()
    await broker?.close()
    await home.remove()
  }, 60_000)

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

  it('is named as what it is', async () => {
    const { body } = await broker.platform.call('GET', '/v2/catalog')
    const services = body['services'] as { name: string; plans: { name: string; description: string }[] }[]
    for (const plan of services.find(({ name }) => name === 'mongodb')?.plans ?? []) {
      expect(plan.name).toMatch(/^development/)
      expect(plan.description).toMatch(/not MongoDB: no transactions, change streams, text search or replica sets/)
    }
  })

  it('gives each instance a server, and each binding a user of its own', async () => {
    await tryServersOfTheirOwn([instance(), instance()], clients)
  }, 60_000)

  it('keeps data and users over backup, restore, plan changes and a crash', async () => {
    const one = instance()
    await one.create()
    const { credentials } = await one.bind()
    const db = await clients.connect(credentials)
    await db.collection('things').insertMany(Array.from({ length: 3000 }, (_, n) => ({ n, text: 'x'.repeat(200) })))
    await tryBackupAndRestore(one, db)
    for (const plan of [large, small]) {
      expect(await one.update({ plan_id: plan })).toMatchObject({ state: 'succeeded' })
      expect(await eventually(() => countThings(db))).toBe(3000)
    }
    // The server behind the gate dies, then the gate itself: each is started again, and no server is ever there without its gate.
    const [server = 0] = pidsOf('DevelopmentServer')
    process.kill(server, 'SIGKILL')
    expect(await eventually(() => countThings(db), { timeoutMs: 20_000 })).toBe(3000)
    const [gate = 0] = pidsOf('mongo-gate.entry.js')
    const [orphan = 0] = pidsOf('DevelopmentServer')
    process.kill(gate, 'SIGKILL')
    await eventually(() => !pidsOf('DevelopmentServer').includes(orphan))
    expect(await eventually(() => countThings(db), { timeoutMs: 20_000 })).toBe(3000)
    const metrics = await broker.platform.call('GET', '/metrics')
    expect(JSON.stringify(metrics.body)).toMatch(/bloomery_service_memory_bytes\{instance=/)
    expect(await one.remove()).toMatchObject({ state: 'succeeded' })
  }, 120_000)
})
