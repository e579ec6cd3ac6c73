import { mkdtemp, readdir, rm, stat, truncate } from 'node:fs/promises'
import type { Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { IngestBatch, type LogLine, type NodeIdentity } from '@bloomery/contracts'
import { makeTestIdentity } from '@bloomery/pki'
import { createLogSender, type LogSenderOptions } from './create-log-sender.js'
import { createInternalServer, internalPeer } from './internal-server.js'

/** Takes batches as the log store does: once per sender and sequence. */
class FakeStore {
  readonly lines: string[] = []
  readonly sources: string[] = []
  metrics = 0
  private readonly seen = new Map<string, number>()
  private server: Server | undefined
  constructor(
    private readonly identity: NodeIdentity,
    private port = 0,
  ) {}

  async open(): Promise<void> {
    const server = createInternalServer(this.identity, (request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const peer = internalPeer(request)
        const batch = IngestBatch.parse(JSON.parse(Buffer.concat(chunks).toString()))
        if (!peer || !batch.sender.startsWith(`${peer.role}:`)) throw new Error('not its own name')
        if (batch.sequence > (this.seen.get(batch.sender) ?? 0)) {
          this.seen.set(batch.sender, batch.sequence)
          for (const envelope of batch.envelopes) {
            if (envelope.kind === 'metrics') this.metrics++
            else {
              this.lines.push(envelope.text)
              this.sources.push(envelope.sourceType)
            }
          }
        }
        response.writeHead(204).end()
      })
    })
    await new Promise<void>((resolve) => server.listen(this.port, '127.0.0.1', resolve))
    this.port = (server.address() as AddressInfo).port
    this.server = server
  }
  get url(): string {
    return `https://127.0.0.1:${this.port}`
  }
  async close(): Promise<void> {
    const server = this.server
    this.server = undefined
    server?.closeAllConnections()
    await new Promise<void>((resolve) => (server ? server.close(() => resolve()) : resolve()))
  }
}

let folder: string
let store: FakeStore
let identity: NodeIdentity
let serial = 0
const line = (text: string, sourceId = 'app'): LogLine => ({
  kind: 'log',
  sourceId,
  instanceId: '0',
  sourceType: 'APP/PROC/WEB',
  stream: 'OUT',
  timestamp: String(++serial),
  text,
})
const numbers = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, i) => String(from + i))
const aSender = (options: Partial<LogSenderOptions> = {}) =>
  createLogSender({
    logsUrl: store.url,
    identity,
    sender: 'cell:c1',
    spoolDir: join(folder, 'spool'),
    batchDelayMs: 5,
    ...options,
  })

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'log-sender-'))
  const { identity: logs, authority } = await makeTestIdentity('logs')
  identity = (await makeTestIdentity('cell', { nodeId: 'c1', authority })).identity
  store = new FakeStore(logs)
  await store.open()
})
afterEach(async () => {
  await store.close()
  await rm(folder, { recursive: true, force: true })
})

describe('the log sender', () => {
  it('sends lines in order and metrics beside them', async () => {
    const sender = aSender()
    for (const text of numbers(0, 1000)) sender.send(line(text))
    sender.send({
      kind: 'metrics',
      sourceId: 'app',
      processGuid: 'p',
      processType: 'web',
      instanceId: '0',
      instanceGuid: 'i',
      timestamp: '1',
      cpu: 0.1,
      cpuEntitlement: 0.2,
      memoryBytes: 1,
      memoryQuotaBytes: 2,
      diskBytes: 1,
      diskQuotaBytes: 2,
      logRateBytes: 0,
      logRateLimitBytes: -1,
    })
    expect(await sender.flush(5_000)).toBe(true)
    expect(store.lines).toEqual(numbers(0, 1000))
    await eventually(() => expect(store.metrics).toBe(1))
    await sender.close()
  })

  it('loses nothing while the store is away, and keeps the order', async () => {
    const sender = aSender({ batchBytes: 2_000 })
    for (const text of numbers(0, 100)) sender.send(line(text))
    expect(await sender.flush(5_000)).toBe(true)
    await store.close()
    for (const text of numbers(100, 5_000)) sender.send(line(text))
    expect(await sender.flush(50)).toBe(false)
    await store.open()
    for (const text of numbers(5_000, 5_100)) sender.send(line(text))
    expect(await sender.flush(10_000)).toBe(true)
    expect(store.lines).toEqual(numbers(0, 5_100))
    await sender.close()
  })

  it('continues from the spool of a process that died, with its cursors, and cuts off a torn record', async () => {
    await store.close()
    const first = aSender()
    for (const text of numbers(0, 500)) first.send(line(text), { key: 'instance-a', position: text })
    await first.flush(50)
    await first.close()
    const spool = join(folder, 'spool')
    const [name] = await readdir(spool)
    const path = join(spool, name ?? '')
    const second = aSender()
    expect(second.cursorOf('instance-a')).toBe('499')
    second.send(line('500'), { key: 'instance-a', position: '500' })
    await second.flush(50)
    await second.close()
    const names = (await readdir(spool)).sort()
    const last = join(spool, names.at(-1) ?? '')
    expect(last).not.toBe(path)
    await truncate(last, (await stat(last)).size - 3)
    await store.open()
    const third = aSender()
    // The torn record is as if it had never been: its input is read again from the cursor.
    expect(third.cursorOf('instance-a')).toBe('499')
    third.send(line('500'), { key: 'instance-a', position: '500' })
    expect(await third.flush(10_000)).toBe(true)
    expect(store.lines).toEqual(numbers(0, 501))
    await third.close()
    await aSender().close()
    expect(store.lines).toEqual(numbers(0, 501))
  })

  it('says in the app’s log how many lines had no room', async () => {
    const sender = aSender({ maxSpoolBytes: 20_000 })
    await store.close()
    for (const text of numbers(0, 1_000)) sender.send(line(text.padStart(100, '.')))
    await sender.flush(50)
    await store.open()
    expect(await sender.flush(10_000)).toBe(true)
    await eventually(() => expect(store.sources).toContain('LGR'))
    const notice = store.lines.at(-1) ?? ''
    const lost = Number(/^(\d+) log lines were lost/.exec(notice)?.[1])
    expect(lost + store.lines.length - 1).toBe(1_000)
    await sender.close()
  })

  it('keeps room for others when one app fills the spool', async () => {
    const sender = aSender({ maxSpoolBytes: 40_000 })
    await store.close()
    for (const text of numbers(0, 1_000)) sender.send(line(text.padStart(100, '.'), 'chatty'))
    for (const text of numbers(0, 20)) sender.send(line(text, 'neighbour'))
    await store.open()
    expect(await sender.flush(10_000)).toBe(true)
    expect(store.lines.filter((text) => text.length < 3)).toEqual(numbers(0, 20))
    await sender.close()
  })

  it('cuts lines beyond the limit between characters', async () => {
    const sender = aSender()
    const text = 'é'.repeat(50_000)
    sender.send(line(text))
    expect(await sender.flush(5_000)).toBe(true)
    expect(store.lines).toHaveLength(2)
    expect(store.lines.join('')).toBe(text)
    await sender.close()
  })

  it('gives timestamps that only rise', () => {
    const sender = aSender()
    const stamps = Array.from({ length: 10_000 }, () => BigInt(sender.nextTimestamp()))
    expect(stamps.every((stamp, i) => i === 0 || stamp > (stamps[i - 1] ?? 0n))).toBe(true)
    return sender.close()
  })

  it('keeps the spool small once all is acknowledged', async () => {
    const sender = aSender({ batchBytes: 100_000 })
    for (let i = 0; i < 60; i++) {
      for (const text of numbers(0, 1000)) sender.send(line(text.padStart(200, '.')))
      expect(await sender.flush(5_000)).toBe(true)
    }
    await sender.close()
    let bytes = 0
    for (const name of await readdir(join(folder, 'spool'))) bytes += (await stat(join(folder, 'spool', name))).size
    expect(bytes).toBeLessThan(2 * 1024 * 1024)
  })
})

async function eventually(assertion: () => void, deadline = Date.now() + 5_000): Promise<void> {
  for (;;) {
    try {
      return assertion()
    } catch (error) {
      if (Date.now() > deadline) throw error
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
}
