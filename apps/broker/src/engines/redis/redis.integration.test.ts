import { randomUUID } from 'node:crypto'
import { eventually, withPostgres } from '@bloomery/testing'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createClient } from '@redis/client'
import type { Broker } from '../../broker.js'
import { TestHome } from '../../testing/broker-under-test.fixture.js'
import type { OsbCaller } from '../../testing/osb-caller.fixture.js'
import { REDIS, REDIS_PLANS } from './plans.js'

const [small, large] = REDIS_PLANS.map(({ id }) => id) as [string, string]

describe('redis', () => {
  const state = withPostgres({ migrated: false })
  const home = new TestHome()
  const clients: { destroy(): void; isOpen: boolean }[] = []
  let broker: Broker & { platform: OsbCaller }
  const instance = (plan = small) => broker.platform.instance(REDIS.id, plan)
  beforeAll(async () => {
    broker = await home.start(state.url)
  }, 60_000)
  afterAll(async () => {
    for (const client of clients) if (client.isOpen) client.destroy()
    await broker.close()
    await home.remove()
  }, 60_000)

  const connect = async ({ uri }: { uri?: unknown }) => {
    const client = createClient({ url: String(uri), socket: { reconnectStrategy: false, connectTimeout: 3_000 } })
    client.on('error', () => undefined)
    clients.push(client)
    await client.connect()
    return client
  }
  /** What the words lead to, on a connection of their own. */
  const ask = async (credentials: { uri?: unknown }, ...words: string[]): Promise<unknown> => {
    const client = await connect(credentials)
    try {
      return await client.sendCommand(words)
    } finally {
      client.destroy()
    }
  }

  it('gives each instance a server, and each binding a user who may do what apps do and nothing else', async () => {
    const [one, two] = [instance(), instance()]
    expect(await Promise.all([one.create(), two.create()])).toMatchObject([{ state: 'succeeded' }, { state: 'succeeded' }])
    const [first, second, stranger] = [await one.bind(), await one.bind(), await two.bind()]
    expect(first.credentials).toMatchObject({ port: expect.any(Number), host: first.credentials['hostname'], tls: false })
    expect(await ask(first.credentials, 'SET', 'word', 'ours')).toBe('OK')
    expect(await ask(second.credentials, 'GET', 'word')).toBe('ours')
    expect(await ask(stranger.credentials, 'GET', 'word')).toBeNull()
    for (const words of [['INFO'], ['KEYS', '*'], ['EVAL', 'return 1', '0'], ['PUBLISH', 'c', 'x'], ['DBSIZE']])
      await ask(first.credentials, ...words)
    for (const words of [['CONFIG', 'GET', '*'], ['FLUSHALL'], ['ACL', 'LIST'], ['SHUTDOWN'], ['REPLICAOF', 'a', '1']])
      await expect(ask(first.credentials, ...words)).rejects.toThrow(/NOPERM/)
    const elsewhere = `${stranger.credentials['uri']}`.replace(/:\d+$/, `:${first.credentials['port']}`)
    await expect(ask({ uri: elsewhere }, 'PING')).rejects.toThrow(/WRONGPASS/)
    const bare = `redis://${first.credentials['host']}:${first.credentials['port']}`
    await expect(ask({ uri: bare }, 'GET', 'word')).rejects.toThrow(/NOAUTH/)

    const session = await connect(second.credentials)
    expect(await one.unbind(second.guid)).toMatchObject({ state: 'succeeded' })
    await eventually(() => !session.isReady)
    await expect(ask(second.credentials, 'PING')).rejects.toThrow(/WRONGPASS/)
    expect(await ask(first.credentials, 'GET', 'word')).toBe('ours')
    await one.remove()
    await expect(ask(first.credentials, 'PING')).rejects.toThrow()
    await two.remove()
  }, 60_000)

  it('has a password alone for old clients, one for each binding, which ends with it', async () => {
    const one = instance()
    await one.create()
    const legacy = async () => {
      const at = `${one.path}/service_bindings/${randomUUID()}`
      const body = { service_id: REDIS.id, plan_id: small, bind_resource: {}, parameters: { legacy_password: true } }
      await broker.platform.follow(at, await broker.platform.call('PUT', `${at}?accepts_incomplete=true`, { body }))
      const { body: binding } = await broker.platform.call('GET', at)
      return { guid: at.split('/').at(-1) ?? '', credentials: binding['credentials'] as Record<string, string> }
    }
    const [first, second] = [await legacy(), await legacy()]
    expect(first.credentials).not.toHaveProperty('username')
    expect(first.credentials['uri']).toMatch(/^redis:\/\/:[^@]+@/)
    expect(await ask(first.credentials, 'SET', 'a', '1')).toBe('OK')
    await expect(ask(first.credentials, 'CONFIG', 'GET', '*')).rejects.toThrow(/NOPERM/)
    await one.unbind(first.guid)
    await expect(ask(first.credentials, 'GET', 'a')).rejects.toThrow(/WRONGPASS/)
    expect(await ask(second.credentials, 'GET', 'a')).toBe('1')
    await one.unbind(second.guid)
    await expect(ask(second.credentials, 'GET', 'a')).rejects.toThrow(/WRONGPASS/)
    await one.remove()
  }, 60_000)

  it('keeps data, users and settings over backup, restore, plan changes and a crash', async () => {
    const one = instance()
    await one.create({ parameters: { maxmemory_policy: 'allkeys-lru' } })
    const { credentials } = await one.bind()
    const client = await connect(credentials)
    for (let i = 0; i < 500; i++) await client.sendCommand(['SET', `key-${i}`, 'x'.repeat(100)])
    expect(await one.update({ parameters: { backup: true } })).toMatchObject({ state: 'succeeded' })
    const { body } = await one.fetch()
    const [backup] = (body['parameters'] as { backups: { id: string; state: string; bytes: number }[] }).backups
    expect(backup).toMatchObject({ state: 'made' })
    await ask(credentials, 'FLUSHDB')
    await ask(credentials, 'SET', 'later', '1')
    expect(await one.update({ parameters: { restore: backup?.id } })).toMatchObject({ state: 'succeeded' })
    expect(await ask(credentials, 'DBSIZE')).toBe(500)
    for (const plan of [large, small]) {
      expect(await one.update({ plan_id: plan })).toMatchObject({ state: 'succeeded' })
      expect(await ask(credentials, 'DBSIZE')).toBe(500)
      expect(await ask(credentials, 'INFO', 'memory')).toMatch(plan === large ? /maxmemory:268435456/ : /maxmemory:67108864/)
      expect(await ask(credentials, 'INFO', 'memory')).toMatch(/maxmemory_policy:allkeys-lru/)
    }
    await ask(credentials, 'SET', 'after', '1')
    const pid = /process_id:(\d+)/.exec(String(await ask(credentials, 'INFO', 'server')))?.[1]
    // Written once a second.
    await eventually(async () => /aof_pending_bio_fsync:0/.test(String(await ask(credentials, 'INFO', 'persistence'))))
    process.kill(Number(pid), 'SIGKILL')
    expect(await eventually(() => ask(credentials, 'DBSIZE'), { timeoutMs: 20_000 })).toBeGreaterThanOrEqual(500)
    const metrics = await broker.platform.call('GET', '/metrics')
    expect(JSON.stringify(metrics.body)).toMatch(/bloomery_service_keys_bytes\{instance=/)
    expect(await one.remove()).toMatchObject({ state: 'succeeded' })
  }, 120_000)
})
