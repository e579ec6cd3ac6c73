import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { eventually } from '@bloomery/testing'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import pg from 'pg'
import { binaryFolder, readZipMember, redisBinary } from './redis-binary.js'
import { EmbeddedError, isAlive, ROOT_STORAGE, startPostgres, startRedis, type EmbeddedServer } from './index.js'

const servers: EmbeddedServer[] = []
let home: string
let options: { home: string; installationId: string; logFile: string }
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'bloomery-embedded-'))
  chmodSync(home, 0o755)
  options = { home, installationId: randomUUID(), logFile: join(home, 'server.log') }
})
afterEach(async () => {
  await Promise.all(servers.splice(0).map((each) => each.stop()))
  rmSync(home, { recursive: true, force: true })
  rmSync(join(ROOT_STORAGE, options.installationId), { recursive: true, force: true })
})
/** A signal is delivered a moment after it was sent. */
const ended = async ({ identity }: EmbeddedServer): Promise<void> => {
  for (const end = Date.now() + 5_000; Date.now() < end && isAlive(identity);) await delay(10)
}
const keep = async (starting: Promise<EmbeddedServer>): Promise<EmbeddedServer> => {
  const server = await starting
  servers.push(server)
  return server
}

async function query(url: string, text: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query<Record<string, unknown>>(text)).rows
  } finally {
    await client.end()
  }
}

describe('embedded Postgres', () => {
  it('starts, is taken over by a second start, and keeps its data over a stop', async () => {
    const first = await keep(startPostgres(options))
    await query(first.url, "CREATE TABLE t AS SELECT lower('ÄPFEL') AS word")
    const second = await startPostgres(options)
    expect(second).toMatchObject({ adopted: true, identity: first.identity, url: first.url })
    await second.stop()
    expect(isAlive(first.identity)).toBe(false)
    const third = await keep(startPostgres(options))
    expect(third.adopted).toBe(false)
    expect(await query(third.url, 'SELECT word FROM t')).toEqual([{ word: 'äpfel' }])
  })

  it('comes back after kill -9', async () => {
    const first = await keep(startPostgres(options))
    await query(first.url, 'CREATE TABLE t AS SELECT 1 AS one')
    process.kill(first.identity.pid, 'SIGKILL')
    await ended(first)
    const second = await keep(startPostgres(options))
    expect(second.adopted).toBe(false)
    expect(await query(second.url, 'SELECT one FROM t')).toEqual([{ one: 1 }])
  })

  it('comes back though nobody has reaped the killed server', async () => {
    // A parent that never asks for its child's end, as the first process of many containers.
    const first = await keep(startPostgres(options))
    const [command = '', ...args] = readFileSync(`/proc/${first.identity.pid}/cmdline`, 'utf8').split('\0').slice(0, -1)
    const owner = statSync(join(home, 'postgres', 'data'))
    await first.stop()
    const careless = spawn('sh', ['-c', '"$@" & sleep 60', 'sh', command, ...args], {
      uid: owner.uid,
      gid: owner.gid,
      stdio: 'ignore',
    })
    const lockFile = join(home, 'postgres', 'data', 'postmaster.pid')
    await eventually(() => existsSync(lockFile) && readFileSync(lockFile, 'utf8').includes('ready'))
    const taken = await startPostgres(options)
    expect(taken.adopted).toBe(true)
    await query(taken.url, 'SELECT 1')
    process.kill(careless.pid ?? 0, 'SIGSTOP')
    process.kill(taken.identity.pid, 'SIGKILL')
    await ended(taken)
    const second = await keep(startPostgres(options))
    expect(second.adopted).toBe(false)
    expect(await query(second.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
    careless.kill('SIGKILL')
  })

  it('lets nobody in without the password', async () => {
    const { url } = await keep(startPostgres(options))
    await expect(query(url.replace(/:[^:@]+@/, ':wrong@'), 'SELECT 1')).rejects.toThrow(/password/)
  })

  it('works from a home that others cannot enter, with a socket path over the limit', async () => {
    chmodSync(home, 0o700)
    const deep = join(home, 'a'.repeat(60), 'b'.repeat(60))
    mkdirSync(deep, { recursive: true })
    const server = await keep(startPostgres({ ...options, home: deep }))
    expect(await query(server.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
    if (process.getuid?.() === 0)
      expect(readlinkSync(join(deep, 'postgres'))).toBe(join(ROOT_STORAGE, options.installationId, 'postgres'))
    else expect(lstatSync(join(deep, 'postgres')).isDirectory()).toBe(true)
  })

  it('explains a change of the major version', async () => {
    const server = await startPostgres(options)
    await server.stop()
    writeFileSync(join(home, 'postgres', 'data', 'PG_VERSION'), '15\n')
    await expect(startPostgres(options)).rejects.toThrow(/made by PostgreSQL 15/)
  })
})

describe('private Redis', () => {
  const ask = (url: string, command: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const { pathname, searchParams } = new URL(url)
      const connection = connect(pathname, () => connection.end(`AUTH ${searchParams.get('password') ?? ''}\r\n${command}\r\n`))
      let answer = ''
      connection.on('data', (chunk) => (answer += chunk.toString()))
      connection.on('end', () => resolve(answer))
      connection.on('error', reject)
    })

  it('starts, is taken over by a second start, and keeps its data over kill -9', async () => {
    const first = await keep(startRedis(options))
    expect(await ask(first.url, 'SET key value')).toBe('+OK\r\n+OK\r\n')
    expect(await startRedis(options)).toMatchObject({ adopted: true, identity: first.identity })
    await ask(first.url, 'BGREWRITEAOF')
    process.kill(first.identity.pid, 'SIGKILL')
    await ended(first)
    const second = await keep(startRedis(options))
    expect(second.adopted).toBe(false)
    expect(await ask(second.url, 'GET key')).toContain('value')
    expect(statSync(new URL(second.url).pathname).mode & 0o077).toBe(0)
  })

  it('puts damaged data aside', async () => {
    const first = await startRedis(options)
    await first.stop()
    rmSync(join(home, 'redis', 'data'), { recursive: true })
    mkdirSync(join(home, 'redis', 'data', 'appendonlydir'), { recursive: true })
    writeFileSync(join(home, 'redis', 'data', 'appendonlydir', 'appendonly.aof.manifest'), 'nonsense\n')
    writeFileSync(join(home, 'redis', 'data', 'appendonly.aof'), 'nonsense\n')
    const second = await keep(startRedis(options))
    expect(await ask(second.url, 'PING')).toContain('+PONG')
    expect(existsSync(join(home, 'redis', 'data.damaged'))).toBe(true)
  })

  it('prefers the system server', async () => {
    const path = await redisBinary(binaryFolder(home), undefined)
    expect(existsSync(path)).toBe(true)
  })

  it('says what is wrong with a wheel', () => {
    expect(() => readZipMember(Buffer.from('no zip'), 'x')).toThrow(EmbeddedError)
  })
})
