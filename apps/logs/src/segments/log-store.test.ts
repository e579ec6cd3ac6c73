import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { LogLine } from '@bloomery/contracts'
import { jest } from '@jest/globals'
import { silentLogger } from '@bloomery/telemetry'
import fc from 'fast-check'
import { type LogQuery, LogStore, type LogStoreOptions } from './log-store.js'
import { SourceLog } from './source-log.js'

const NOW_MS = 1_800_000_000_000
const NOW = BigInt(NOW_MS) * 1_000_000n
const APP = 'aaaaaaaa-0000-4000-8000-000000000001'
const EVERYTHING: LogQuery = { start: -6795364578871345152n, end: 2n ** 63n - 1n, limit: 1_000, descending: false }

let folder: string
let store: LogStore
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'log-store-'))
  store = aStore()
})
afterEach(async () => {
  await store.close()
  await rm(folder, { recursive: true, force: true })
})

const aStore = (options: Partial<LogStoreOptions> = {}): LogStore =>
  new LogStore({ folder, bounds: { maxBytes: 8e6, maxLines: 100_000 }, logger: silentLogger, now: () => NOW_MS, ...options })
const line = (text: string, timestamp: bigint | number = 1, sourceId = APP): LogLine => ({
  kind: 'log',
  sourceId,
  instanceId: '0',
  sourceType: 'APP/PROC/WEB',
  stream: 'OUT',
  timestamp: String(timestamp),
  text,
})
const lines = (from: number, to: number): LogLine[] =>
  Array.from({ length: to - from }, (_, i) => line(String(from + i), from + i + 1))
const texts = async (query: Partial<LogQuery> = {}, of = store): Promise<string[]> =>
  (await of.read(APP, { ...EVERYTHING, ...query })).map(({ log }) => Buffer.from(log.payload, 'base64').toString())

describe('the log store', () => {
  it('renders exactly what log-cache’s strict readers accept', async () => {
    await store.append({
      sender: 1n,
      sequence: 1,
      lines: [{ ...line('höllo\n', NOW), stream: 'ERR', tags: { process_type: 'web' } }],
    })
    expect(await store.read(APP, EVERYTHING)).toStrictEqual([
      {
        timestamp: '1800000000000000000',
        source_id: APP,
        instance_id: '0',
        deprecated_tags: {},
        tags: { process_type: 'web', source_type: 'APP/PROC/WEB' },
        log: { payload: Buffer.from('höllo').toString('base64'), type: 'ERR' },
      },
    ])
  })

  it('answers a read that waits as soon as its app has a line, and without one when its time is over', async () => {
    const { signal } = new AbortController()
    const from = { ...EVERYTHING, start: NOW }
    const waiting = store.readOrWait(APP, from, 20_000, signal)
    await store.append({ sender: 1n, sequence: 1, lines: [line('another app', NOW, 'other')] })
    await store.append({ sender: 1n, sequence: 2, lines: [line('too old', 1)] })
    await store.append({ sender: 1n, sequence: 3, lines: [line('wanted', NOW)] })
    expect(await waiting).toHaveLength(1)
    expect(await store.readOrWait(APP, from, 20_000, signal)).toHaveLength(1)
    expect(await store.readOrWait(APP, { ...from, start: NOW + 1n }, 20, signal)).toEqual([])
  })

  it('lets go of a reader that left, and of all when it closes', async () => {
    const left = new AbortController()
    const gone = store.readOrWait(APP, EVERYTHING, 20_000, left.signal)
    left.abort()
    expect(await gone).toEqual([])
    const waiting = store.readOrWait(APP, EVERYTHING, 20_000, new AbortController().signal)
    await store.close()
    expect(await waiting).toEqual([])
  })

  it.each<[string, Partial<LogQuery>, string[]]>([
    ['the oldest first, up to the limit', { limit: 3 }, ['0', '1', '2']],
    ['the newest first when descending', { limit: 3, descending: true }, ['9999', '9998', '9997']],
    ['start included, end not', { start: 5_001n, end: 5_003n }, ['5000', '5001']],
    ['the newest before an end', { end: 5_001n, limit: 2, descending: true }, ['4999', '4998']],
    ['nothing after the last', { start: 10_001n }, []],
    ['the last', { start: 10_000n }, ['9999']],
    ['nothing of an empty span', { start: 10n, end: 10n }, []],
  ])('reads %s', async (_name, query, expected) => {
    for (let i = 0; i < 100; i++) await store.append({ sender: 1n, sequence: i, lines: lines(i * 100, i * 100 + 100) })
    expect(await texts(query)).toEqual(expected)
    await store.close()
    expect(await texts(query, aStore())).toEqual(expected)
  })

  it('answers every window as a plain list would, over many segments', async () => {
    store = aStore({ bounds: { maxBytes: 80_000, maxLines: 100_000 } })
    for (let i = 0; i < 60; i++) await store.append({ sender: 1n, sequence: i, lines: lines(i * 10, i * 10 + 10) })
    const all = await texts()
    expect(all.at(-1)).toBe('599')
    const window = fc.record({
      start: fc.bigInt(0n, 620n),
      end: fc.bigInt(0n, 620n),
      limit: fc.integer({ min: 1, max: 700 }),
      descending: fc.boolean(),
    })
    await fc.assert(
      fc.asyncProperty(window, async ({ start, end, limit, descending }) => {
        const inside = all.filter((text) => BigInt(text) + 1n >= start && BigInt(text) + 1n < end)
        expect(await texts({ start, end, limit, descending })).toEqual((descending ? inside.reverse() : inside).slice(0, limit))
      }),
      { numRuns: 200 },
    )
  })

  it('makes timestamps unique and rising over all senders, so that continuing after the last misses nothing', async () => {
    await store.append({ sender: 1n, sequence: 1, lines: [line('a', 100), line('b', 100)] })
    await store.append({ sender: 2n, sequence: 1, lines: [line('late', 50), line('c', 200)] })
    await store.append({ sender: 3n, sequence: 1, lines: [line('clock ahead', NOW + 3_600_000_000_000n), line('d', NOW)] })
    const found = await store.read(APP, EVERYTHING)
    expect(found.map(({ timestamp }) => BigInt(timestamp))).toEqual([100n, 101n, 102n, 200n, NOW, NOW + 1n])
    expect(await texts()).toEqual(['a', 'b', 'late', 'c', 'clock ahead', 'd'])
  })

  it('follows as a tailing client does, without a gap or a repetition', async () => {
    const seen: string[] = []
    let start = 0n
    for (let i = 0; i < 50; i++) {
      await store.append({
        sender: BigInt(1 + (i % 3)),
        sequence: i,
        lines: [line(`${i}a`, 1_000 - i), line(`${i}b`, 1_000 - i)],
      })
      const batch = await store.read(APP, { ...EVERYTHING, start, limit: 100 })
      for (const envelope of batch) {
        seen.push(Buffer.from(envelope.log.payload, 'base64').toString())
        start = BigInt(envelope.timestamp) + 1n
      }
    }
    expect(seen).toEqual(Array.from({ length: 50 }, (_, i) => [`${i}a`, `${i}b`]).flat())
  })

  it('takes a batch once per sender, also after restarts and over segments', async () => {
    store = aStore({ bounds: { maxBytes: 80_000, maxLines: 100_000 } })
    for (let i = 1; i <= 200; i++) await store.append({ sender: 7n, sequence: i, lines: [line(`${i}`.padEnd(100, '.'), i)] })
    const before = await texts()
    for (const attempt of [store, aStore(), aStore()]) {
      for (let i = 150; i <= 200; i++)
        await attempt.append({ sender: 7n, sequence: i, lines: [line(`${i}`.padEnd(100, '.'), i)] })
      await attempt.close()
    }
    expect(await texts({}, aStore())).toEqual(before)
    await store.append({ sender: 8n, sequence: 1, lines: [line('another sender')] })
    expect((await texts()).at(-1)).toBe('another sender')
  })

  it('keeps within its bounds by bytes and lines, and the newest', async () => {
    store = aStore({ bounds: { maxBytes: 1_000_000, maxLines: 1_000 } })
    for (let i = 0; i < 100; i++) await store.append({ sender: 1n, sequence: i, lines: lines(i * 50, i * 50 + 50) })
    const kept = (await store.meta([APP])).get(APP)
    expect(kept?.count).toBeLessThanOrEqual(1_000)
    expect(kept?.count).toBeGreaterThanOrEqual(800)
    expect((kept?.count ?? 0) + (kept?.expired ?? 0)).toBe(5_000)
    expect((await texts({ descending: true, limit: 1 }))[0]).toBe('4999')

    for (let i = 100; i < 200; i++) await store.append({ sender: 1n, sequence: i, lines: [line('x'.repeat(50_000))] })
    let bytes = 0
    for (const name of await readdir(join(folder, APP))) bytes += (await stat(join(folder, APP, name))).size
    expect(bytes).toBeLessThanOrEqual(1_000_000)
    expect(bytes).toBeGreaterThan(700_000)
  })

  it.each([1, 5, 30, 60])('cuts off a record torn %i bytes before its end, and takes it again', async (missing) => {
    await store.append({ sender: 1n, sequence: 1, lines: lines(0, 3) })
    await store.append({ sender: 1n, sequence: 2, lines: lines(3, 5) })
    await store.close()
    const [name] = await readdir(join(folder, APP))
    const path = join(folder, APP, name ?? '')
    await truncate(path, (await stat(path)).size - missing)
    store = aStore()
    expect(await texts()).toEqual(['0', '1', '2'])
    await store.append({ sender: 1n, sequence: 2, lines: lines(3, 5) })
    expect(await texts()).toEqual(['0', '1', '2', '3', '4'])
  })

  it('reads up to a damaged record and goes on writing', async () => {
    await store.append({ sender: 1n, sequence: 1, lines: lines(0, 3) })
    await store.append({ sender: 1n, sequence: 2, lines: lines(3, 6) })
    await store.close()
    const [name] = await readdir(join(folder, APP))
    const path = join(folder, APP, name ?? '')
    const bytes = await readFile(path)
    bytes[bytes.length - 4] = 0xff
    await writeFile(path, bytes)
    store = aStore()
    await store.append({ sender: 1n, sequence: 3, lines: lines(6, 7) })
    expect(await texts()).toEqual(['0', '1', '2', '6'])
  })

  it('drops lines while the disk is full, and says so in the app’s log', async () => {
    const full = jest
      .spyOn(SourceLog.prototype, 'append')
      .mockRejectedValue(Object.assign(new Error('no space'), { code: 'ENOSPC' }))
    await store.append({ sender: 1n, sequence: 1, lines: lines(0, 3) })
    await store.append({ sender: 1n, sequence: 2, lines: lines(3, 5) })
    full.mockRestore()
    await store.append({ sender: 1n, sequence: 3, lines: lines(5, 6) })
    expect(await texts()).toEqual(["5 log lines were lost: the log store's disk was full", '5'])
  })

  it('forgets an app and begins anew', async () => {
    await store.append({ sender: 1n, sequence: 1, lines: lines(0, 3) })
    await store.forget(APP)
    expect(await texts()).toEqual([])
    expect(await readdir(folder)).toEqual([])
    await store.append({ sender: 1n, sequence: 2, lines: lines(5, 6) })
    expect(await texts()).toEqual(['5'])
    expect(await store.forgetSilentSince(NOW_MS)).toBe(1)
    expect(await store.meta()).toEqual(new Map())
  })

  it('never leaves its folder, whatever a source is called', async () => {
    await store.append({ sender: 1n, sequence: 1, lines: [line('x', 1, '../../outside'), line('x', 1, '.'), line('fine', 2)] })
    expect(await readdir(folder)).toEqual([APP])
    await expect(store.read('../x', EVERYTHING)).rejects.toThrow(RangeError)
  })

  it('serves thousands of apps with few open files and indexes', async () => {
    store = aStore({ maxLoaded: 50, maxOpenFiles: 10 })
    const apps = Array.from({ length: 1_000 }, (_, i) => `app-${i}`)
    for (const round of [1, 2]) {
      await store.append({ sender: 1n, sequence: round, lines: apps.map((app) => line(`round ${round}`, round, app)) })
    }
    const open = (await readdir('/proc/self/fd')).length
    expect(open).toBeLessThan(200)
    expect((await store.meta()).size).toBe(1_000)
    const found = await store.read('app-7', EVERYTHING)
    expect(found).toHaveLength(2)
  })
})
