import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { InstanceMetrics, LogLine, NodeIdentity } from '@bloomery/contracts'
import { createLogReader, createLogSender, LogCacheRead, type LogReader } from '@bloomery/feeds'
import { makeTestIdentity, saveNodeIdentity } from '@bloomery/pki'
import { eventually } from '@bloomery/testing'

const app = join(dirname(fileURLToPath(import.meta.url)), '..')
const APP = 'aaaaaaaa-0000-4000-8000-000000000001'

let folder: string
let port: number
let cell: NodeIdentity
let api: NodeIdentity
let role: ChildProcess | undefined
let reader: LogReader

beforeAll(() => {
  execFileSync(process.execPath, [join(app, '../../packages/tooling/src/build.mjs')], { cwd: app })
})
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'logs-role-'))
  port = await freePort()
  const { identity, authority } = await makeTestIdentity('logs')
  cell = (await makeTestIdentity('cell', { nodeId: 'c1', authority })).identity
  api = (await makeTestIdentity('api', { nodeId: 'main', authority })).identity
  saveNodeIdentity(join(folder, 'node'), identity)
  startRole()
  reader = createLogReader({ logsUrl: `https://127.0.0.1:${port}`, identity: api })
})
afterEach(async () => {
  await reader.close()
  await stopRole('SIGTERM')
  await rm(folder, { recursive: true, force: true })
})

function startRole(): void {
  role = spawn(process.execPath, [join(app, 'dist/main.js')], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: {
      ...process.env,
      NODE_OPTIONS: '',
      BLOOMERY_HOME: folder,
      BLOOMERY_NODE_DIR: join(folder, 'node'),
      BLOOMERY_LOGS_LISTEN: `127.0.0.1:${port}`,
      BLOOMERY_LOG_LEVEL: 'fatal',
    },
  })
}
async function stopRole(signal: NodeJS.Signals): Promise<void> {
  if (!role || role.exitCode !== null || role.signalCode !== null) return
  const exited = once(role, 'exit')
  role.kill(signal)
  await exited
}
const aSender = (spoolDir = join(folder, 'spool')) =>
  createLogSender({ logsUrl: `https://127.0.0.1:${port}`, identity: cell, sender: 'cell:c1', spoolDir, batchDelayMs: 5 })
const line = (text: string, timestamp: string, sourceId = APP): LogLine => ({
  kind: 'log',
  sourceId,
  instanceId: '0',
  sourceType: 'APP/PROC/WEB',
  stream: 'OUT',
  timestamp,
  text,
})

/** All lines of an app, page by page as a client walks them. */
async function walk(sourceId: string): Promise<string[]> {
  const found: string[] = []
  let start = '-6795364578871345152'
  for (;;) {
    const { envelopes } = LogCacheRead.parse(
      await reader.read(sourceId, { start_time: start, limit: '1000', envelope_types: 'LOG' }),
    )
    if (envelopes.batch.length === 0) return found
    for (const envelope of envelopes.batch) {
      found.push(Buffer.from(envelope.log.payload, 'base64').toString())
      start = String(BigInt(envelope.timestamp) + 1n)
    }
  }
}

describe('the logs role', () => {
  it('loses and repeats no line when it is killed again and again amid appends', async () => {
    const sender = aSender()
    const expected: string[] = []
    let sending = true
    const writing = (async () => {
      while (sending) {
        for (let i = 0; i < 20; i++) {
          expected.push(String(expected.length))
          sender.send(line(String(expected.length - 1), sender.nextTimestamp()))
        }
        // Well within the bounds of what is kept, however long the rounds take.
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    })()
    try {
      for (let round = 1; round <= 3; round++) {
        const before = expected.length
        await eventually(async () => Number((await reader.meta([APP]))[APP]?.count ?? 0) > before, { timeoutMs: 20_000 })
        await stopRole('SIGKILL')
        startRole()
      }
    } finally {
      sending = false
      await writing
    }
    expect(await sender.flush(15_000)).toBe(true)
    await sender.close()
    expect(await walk(APP)).toEqual(expected)
  })

  it('gives the newest metrics, over a restart too, and forgets an app', async () => {
    const sender = aSender()
    const metrics: InstanceMetrics = {
      kind: 'metrics',
      sourceId: APP,
      processGuid: 'p',
      processType: 'web',
      instanceId: '0',
      instanceGuid: 'i',
      timestamp: sender.nextTimestamp(),
      cpu: 0.1,
      cpuEntitlement: 0.2,
      memoryBytes: 1,
      memoryQuotaBytes: 2,
      diskBytes: 1,
      diskQuotaBytes: 2,
      logRateBytes: 0,
      logRateLimitBytes: -1,
    }
    sender.send(metrics)
    sender.send(line('x', sender.nextTimestamp()))
    const newer = { ...metrics, timestamp: sender.nextTimestamp(), cpu: 0.9 }
    sender.send(newer)
    await sender.flush(10_000)
    await eventually(async () => (await reader.metrics(APP))[0]?.cpu === newer.cpu)
    await stopRole('SIGTERM')
    startRole()
    await eventually(async () => (await reader.metrics(APP))[0]?.cpu === newer.cpu)
    expect((await reader.meta([APP, 'unknown']))[APP]?.count).toBe('1')
    await reader.forget(APP)
    expect(await reader.metrics(APP)).toEqual([])
    expect(await reader.meta()).toEqual({})
    await sender.close()
  })

  it('refuses what it must: other roles, bad queries, strange sources', async () => {
    await eventually(() => reader.meta())
    const asCell = createLogReader({ logsUrl: `https://127.0.0.1:${port}`, identity: cell })
    await expect(asCell.read(APP, {})).rejects.toThrow('answered 403')
    await asCell.close()
    await expect(reader.read(APP, { limit: '1001' })).rejects.toThrow('limit must be between 1 and 1000')
    await expect(reader.read(APP, { start_time: 'yesterday' })).rejects.toThrow('start_time must be an integer')
    await expect(reader.read('../../etc', {})).rejects.toThrow('app guid')
    expect(await reader.read(APP, { envelope_types: ['GAUGE', 'COUNTER'] })).toEqual({ envelopes: { batch: [] } })
  })

  it('stays within bounded memory while a quarter of a gigabyte goes through', async () => {
    const sender = aSender()
    const text = 'x'.repeat(2_000)
    const residentMb = (): number =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${role?.pid ?? 0}/status`, 'utf8'))?.[1]) / 1024
    let highest = 0
    for (let sent = 0; sent < 256; sent += 8) {
      for (let i = 0; i < 4_000; i++) sender.send(line(text, sender.nextTimestamp(), `app-${i % 16}`))
      expect(await sender.flush(20_000)).toBe(true)
      highest = Math.max(highest, residentMb())
    }
    expect(highest).toBeLessThan(250)
    expect(await walk('app-3')).not.toHaveLength(0)
    await sender.close()
  }, 90_000)
})

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port: free } = server.address() as AddressInfo
  await new Promise<void>((resolve) => server.close(() => resolve()))
  return free
}
