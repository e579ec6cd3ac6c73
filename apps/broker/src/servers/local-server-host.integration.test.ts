import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createPool, type Pool } from '@bloomery/database/sql'
import { findByPidFile, serverUser } from '@bloomery/embedded'
import { Keyring } from '@bloomery/secrets'
import { silentLogger } from '@bloomery/telemetry'
import { eventually, withPostgres } from '@bloomery/testing'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { adminPool, postgresSoftware } from '../engines/postgresql/software.js'
import { inBrokerSchema, prepareSchema } from '../state/schema.js'
import { Vault } from '../state/vault.js'
import { TestHome } from '../testing/broker-under-test.fixture.js'
import { ServiceFolders } from './folders.js'
import { LocalServerHost } from './local-server-host.js'
import { ProgramRuntime } from './program-runtime.js'
import type { Server } from './server-host.js'
import { stopAllServers } from './stop-servers.js'

const SPEC = { name: 'postgresql-shared', kind: 'postgresql', memoryMb: 128, diskMb: 512 }

describe('a database server', () => {
  const state = withPostgres({ migrated: false })
  const home = new TestHome()
  const runFolder = join(home.home, 'run/services')
  const vault = new Vault(new Keyring('k', new Map([['k', randomBytes(32)]])))
  const owner = serverUser('bloomery-services')
  let address = '127.0.0.1'
  let pool: Pool
  /** As after a restart of the broker. */
  const aHost = () =>
    new LocalServerHost({
      pool,
      vault,
      software: [postgresSoftware({ image: undefined, owner })],
      runtimes: [new ProgramRuntime({ installationId: home.installationId, runFolder, logFolder: home.home, owner })],
      folders: new ServiceFolders(home, owner),
      network: { address: () => Promise.resolve(address), open: () => Promise.resolve() },
      memoryMb: 1_000,
      log: silentLogger,
    })
  beforeAll(async () => {
    pool = createPool(inBrokerSchema(state.url), { max: 4 })
    await prepareSchema(pool)
  })
  afterAll(async () => {
    await home.remove()
    await pool.end()
  }, 60_000)
  const ask = async (server: Server, text: string): Promise<unknown[]> => {
    const admin = adminPool(server, 'postgres', 1)
    return (await admin.query(text).finally(() => admin.end())).rows as unknown[]
  }
  const processOf = (server: Server) => findByPidFile(join(runFolder, `${server.name}.pid`), server.folder)

  it('keeps its address and its data over its own death, the broker’s, and a stop of the whole platform', async () => {
    const server = await aHost().ensure(SPEC)
    await ask(server, 'CREATE TABLE t AS SELECT 1 AS one')
    const first = processOf(server)
    // Another broker finds it running.
    expect(await aHost().ensure(SPEC)).toEqual(server)
    expect(processOf(server)).toEqual(first)

    const stopping = new AbortController()
    const keeping = aHost().keepRunning(stopping.signal)
    process.kill(first?.pid ?? 0, 'SIGKILL')
    await eventually(async () => expect(await ask(server, 'SELECT one FROM t')).toEqual([{ one: 1 }]) ?? true, {
      timeoutMs: 20_000,
    })
    expect(processOf(server)?.pid).not.toBe(first?.pid)
    stopping.abort()
    await keeping

    await stopAllServers({ runFolder })
    expect(processOf(server)).toBeUndefined()
    expect(await aHost().ensure(SPEC)).toEqual(server)
    expect(await ask(server, 'SELECT one FROM t')).toEqual([{ one: 1 }])
  }, 90_000)

  it('rests while nobody needs it, and comes back with its data', async () => {
    const host = aHost()
    const server = await host.ensure(SPEC)
    await host.rest(SPEC.name, () => Promise.resolve(true))
    expect(processOf(server)).toBeDefined()
    await host.rest(SPEC.name, () => Promise.resolve(false))
    expect(processOf(server)).toBeUndefined()
    const stopping = new AbortController()
    const keeping = host.keepRunning(stopping.signal)
    expect(await host.ensure(SPEC)).toEqual(server)
    expect(await ask(server, 'SELECT one FROM t')).toEqual([{ one: 1 }])
    stopping.abort()
    await keeping
  }, 60_000)

  it('runs as a user without rights, in a control group of its own where there are such', async () => {
    const server = await aHost().ensure(SPEC)
    const { pid } = processOf(server) ?? { pid: 0 }
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    if (owner) {
      expect(status).toMatch(new RegExp(`^Uid:\\s+${owner.uid}\\s`, 'm'))
      expect(status).toMatch(/^NoNewPrivs:\s+1$/m)
      expect(status).toMatch(/^CapBnd:\s+0+$/m)
      expect(readFileSync(`/proc/${pid}/cgroup`, 'utf8')).toContain(`/${SPEC.name}`)
    }
    expect((await aHost().usage(SPEC.name)).memoryBytes).toBeGreaterThan(1_000_000)
  }, 30_000)

  it('takes other limits by starting anew, and no more than the platform has', async () => {
    const server = await aHost().ensure({ ...SPEC, memoryMb: 256 })
    expect(await ask(server, 'SHOW shared_buffers')).toEqual([{ shared_buffers: '64MB' }])
    await expect(aHost().ensure({ ...SPEC, name: 'postgresql-other', memoryMb: 800 })).rejects.toThrow(
      /no room.*BLOOMERY_SERVICES_MEMORY_MB/,
    )
  }, 60_000)

  it('moves with the address at which apps reach it', async () => {
    address = '127.0.0.2'
    const server = await aHost().ensure({ ...SPEC, memoryMb: 256 })
    expect(server.host).toBe('127.0.0.2')
    expect(await ask(server, 'SELECT one FROM t')).toEqual([{ one: 1 }])
    await expect(ask({ ...server, host: '127.0.0.1' }, 'SELECT 1')).rejects.toThrow()
  }, 60_000)

  it('goes with all it had', async () => {
    const host = aHost()
    const server = await host.find(SPEC.name)
    await host.remove(SPEC.name)
    await host.remove(SPEC.name)
    expect(await host.find(SPEC.name)).toBeUndefined()
    expect(() => readFileSync(join(server?.folder ?? '', 'data/PG_VERSION'))).toThrow()
  }, 30_000)
})
