import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { createPool, type Pool, rows, sql } from '@bloomery/database/sql'
import { silentLogger } from '@bloomery/telemetry'
import { eventually, withPostgres } from '@bloomery/testing'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Broker } from '../broker.js'
import { Intake } from '../operations/intake.js'
import { inBrokerSchema } from '../state/schema.js'
import { Vault } from '../state/vault.js'
import { TestHome } from '../testing/broker-under-test.fixture.js'
import type { OsbCaller } from '../testing/osb-caller.fixture.js'
import { figuresOf } from '../testing/scrape.fixture.js'
import { ScriptedEngine } from '../testing/scripted-engine.fixture.js'
import { shortName } from '../engines/names.js'
import { beginDue } from './schedule.js'

const MINUTE = 60_000

describe('backups on a schedule', () => {
  const state = withPostgres({ migrated: false })
  const home = new TestHome()
  const engine = new ScriptedEngine()
  let broker: Broker & { platform: OsbCaller }
  let pool: Pool
  beforeAll(async () => {
    broker = await home.start(state.url, { engines: [engine] })
    pool = createPool(inBrokerSchema(state.url), { max: 2 })
  }, 60_000)
  afterAll(async () => {
    await pool?.end()
    await broker?.close()
    await home.remove()
  })
  const instance = () => broker.platform.instance('scripted-service', 'scripted-shared')
  /** As the broker does now and then, at another time; another request wakes the one that works. */
  const lookAt = async (now: Date): Promise<void> => {
    const vault = new Vault(home.keyring)
    await beginDue({ pool, intake: new Intake(pool, [engine], vault), nudge: () => undefined, log: silentLogger }, now)
    await instance().create()
  }
  const backupsOf = async (one: ReturnType<typeof instance>) => {
    const { body } = await one.fetch()
    return (body['parameters'] as { backups: { id: string; state: string; by: string }[] }).backups
  }
  const made = (one: ReturnType<typeof instance>, count: number) =>
    eventually(async () => {
      const found = await backupsOf(one)
      const total = engine.calls.filter((call) => call === 'backup shared').length
      return total === count && found.every(({ state: is }) => is === 'made') ? found : undefined
    })

  it('are begun when they are due, and only as many are kept as are wanted, as files and in what is told', async () => {
    const one = instance()
    await one.create({ parameters: { schedule: '*/10 * * * *', keep_backups: 2 } })
    await lookAt(new Date())
    expect(await backupsOf(one)).toEqual([])
    const seen: string[] = []
    let now = Date.now()
    for (let count = 1; count <= 4; count++) {
      now += 10 * MINUTE
      await lookAt(new Date(now))
      const [newest] = await made(one, count)
      expect(newest).toMatchObject({ by: 'schedule' })
      seen.unshift(newest?.id ?? '')
    }
    expect((await backupsOf(one)).map(({ id }) => id)).toEqual(seen.slice(0, 2))
    const folder = join(home.home, 'services/backups', shortName('i', one.guid))
    if (existsSync(folder)) expect(readdirSync(folder).sort()).toEqual(seen.slice(0, 2).sort())
    const { last_backup_timestamp_seconds: at } = await figuresOf(broker.platform, one.guid)
    expect(at).toBeGreaterThan(Date.now() / 1000 - 120)
    await one.remove()
  }, 60_000)

  it('are made up for once, by one of several brokers, and not while something else is under way', async () => {
    engine.calls.length = 0
    const one = instance()
    await one.create({ parameters: { schedule: '0 3 * * *' } })
    const release = engine.hold('restore')
    await one.update({ parameters: { backup: true } })
    await made(one, 1)
    const [{ id } = { id: '' }] = await backupsOf(one)
    const restoring = one.update({ parameters: { restore: id } })
    await eventually(() => engine.calls.includes('restore shared'))
    const late = new Date(Date.now() + 10 * 24 * 60 * MINUTE)
    await lookAt(late)
    expect(engine.calls.filter((call) => call === 'backup shared')).toHaveLength(1)
    release()
    await restoring
    await Promise.all([lookAt(late), lookAt(late), lookAt(late)])
    await made(one, 2)
    const [row] = await rows<{ next: Date }>(pool, sql`SELECT next_backup_at AS next FROM instances WHERE guid = ${one.guid}`)
    expect(row?.next.getTime()).toBeGreaterThan(late.getTime())
    expect(row?.next.toISOString()).toMatch(/T03:00:00/)
  }, 60_000)

  it('end with their schedule, and with their instance', async () => {
    engine.calls.length = 0
    const one = instance()
    await one.create({ parameters: { schedule: '*/10 * * * *' } })
    await one.update({ parameters: { schedule: '' } })
    await lookAt(new Date(Date.now() + 60 * MINUTE))
    expect(engine.calls).not.toContain('backup shared')
    await one.update({ parameters: { backup: true } })
    await made(one, 1)
    await one.remove()
    expect(await rows(pool, sql`SELECT 1 FROM backups WHERE instance_guid = ${one.guid}`)).toEqual([])
  }, 60_000)
})
