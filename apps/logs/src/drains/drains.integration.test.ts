import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer as createHttpsServer } from 'node:https'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import type { InstanceMetrics, LogLine, SyslogDrain } from '@bloomery/contracts'
import { parseAllowedDestination, type TenantAddressPolicy } from '@bloomery/domain'
import { createAuthority, issueNodeIdentity, issueServerCertificate } from '@bloomery/pki'
import { silentLogger } from '@bloomery/telemetry'
import { eventually } from '@bloomery/testing'
import { LogStore } from '../segments/log-store.js'
import type { SourceBounds } from '../segments/source-log.js'
import { Drains } from './drains.js'

const APP = 'aaaaaaaa-0000-4000-8000-000000000001'
const OTHER = 'bbbbbbbb-0000-4000-8000-000000000002'
const LOCAL: TenantAddressPolicy = {
  allowed: ['127.0.0.1', '::1'].map(parseAllowedDestination).filter((each) => each !== undefined),
  own: [],
}

let folder: string
let store: LogStore
let drains: Drains
let sequence = 0
let closing: (() => unknown)[] = []
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'drains-'))
  sequence = 0
  await open()
})
afterEach(async () => {
  await close()
  for (const step of closing) step()
  closing = []
  await rm(folder, { recursive: true, force: true })
})
async function open(bounds: SourceBounds = { maxBytes: 8e6, maxLines: 100_000 }, policy = LOCAL): Promise<void> {
  store = new LogStore({ folder: join(folder, 'apps'), bounds, logger: silentLogger })
  drains = new Drains({ store, policy, path: join(folder, 'drains.json'), log: silentLogger, stallTimeoutMs: 500 })
  await drains.start()
}
async function close(): Promise<void> {
  await drains.close()
  await store.close()
}
const until = (assertion: () => void | Promise<void>, timeoutMs = 10_000): Promise<boolean> =>
  eventually(
    async () => {
      await assertion()
      return true
    },
    { timeoutMs },
  )
const append = (texts: readonly string[], sourceId = APP, over: Partial<LogLine> = {}): Promise<void> => {
  const lines = texts.map((text): LogLine => ({
    kind: 'log',
    sourceId,
    instanceId: '0',
    sourceType: 'APP/PROC/WEB',
    stream: 'OUT',
    timestamp: String(BigInt(Date.now()) * 1_000_000n),
    text,
    ...over,
  }))
  return store.append({ sender: 7n, sequence: ++sequence, lines })
}
const aDrain = (url: string, over: Partial<SyslogDrain> = {}): SyslogDrain => ({
  appGuid: APP,
  appName: 'shop',
  spaceGuid: 's',
  spaceName: 'dev',
  organizationGuid: 'o',
  organizationName: 'bloomery',
  url,
  trusted: false,
  ...over,
})
const want = (...list: SyslogDrain[]): Promise<void> => drains.apply({ revision: String(Math.random()), drains: list })
const told = async (sourceId = APP): Promise<string[]> =>
  (await store.read(sourceId, { start: 0n, end: 2n ** 63n - 1n, limit: 1_000, descending: true }))
    .filter(({ tags }) => tags['source_type'] === 'LGR')
    .map(({ log }) => Buffer.from(log.payload, 'base64').toString())

/** Collects octet-counted messages. */
class Collector {
  readonly messages: string[] = []
  readonly sockets = new Set<Socket>()
  #rest = Buffer.alloc(0)
  paused = false
  connections = 0
  take(socket: Socket): void {
    this.connections++
    this.sockets.add(socket)
    this.#rest = Buffer.alloc(0)
    socket.on('error', () => undefined).on('close', () => this.sockets.delete(socket))
    if (this.paused) {
      socket.pause()
      return
    }
    socket.on('data', (chunk: Buffer) => this.#parse(chunk))
  }
  get texts(): string[] {
    return this.messages.map((message) => /"\] (.*)\n$/s.exec(message)?.[1] ?? message)
  }
  #parse(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk])
    for (;;) {
      const space = this.#rest.indexOf(0x20)
      const length = space < 0 ? NaN : Number(this.#rest.subarray(0, space).toString())
      if (!Number.isInteger(length) || this.#rest.length < space + 1 + length) return
      this.messages.push(this.#rest.subarray(space + 1, space + 1 + length).toString())
      this.#rest = this.#rest.subarray(space + 1 + length)
    }
  }
}
async function listen(server: Server, port = 0): Promise<number> {
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve))
  closing.push(() => server.close())
  return (server.address() as AddressInfo).port
}
const syslogServer = async (collector: Collector, port = 0): Promise<{ server: Server; port: number }> => {
  const server = createServer((socket) => collector.take(socket))
  closing.push(() => {
    for (const socket of collector.sockets) socket.destroy()
  })
  return { server, port: await listen(server, port) }
}
const numbered = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, i) => `line ${from + i}`)

describe('syslog drains', () => {
  it('send what an app says from now on, framed by octet counting', async () => {
    const collector = new Collector()
    const { port } = await syslogServer(collector)
    await append(['before'])
    await want(aDrain(`syslog://127.0.0.1:${port}`))
    await append(['hellö', 'oops'], APP, { stream: 'ERR' })
    await append(['not mine'], OTHER)
    await until(() => expect(collector.texts).toEqual(['hellö', 'oops']))
    expect(collector.messages[0]).toMatch(
      new RegExp(
        `^<11>1 \\d{4}-\\d\\d-\\d\\dT[\\d:.]+\\+00:00 bloomery\\.dev\\.shop ${APP} \\[APP/PROC/WEB/0\\] - \\[tags@47450 .*source_type="APP/PROC/WEB".*\\] hellö\n$`,
      ),
    )
    await want()
    await append(['after'])
    expect(drains.count).toBe(0)
  })

  it('take metrics alone, or both, as they ask', async () => {
    const [metrics, all] = [new Collector(), new Collector()]
    const { port } = await syslogServer(metrics)
    const { port: second } = await syslogServer(all)
    await want(aDrain(`syslog://127.0.0.1:${port}?drain-type=metrics`), aDrain(`syslog://127.0.0.1:${second}?drain-type=all`))
    const measured: InstanceMetrics = {
      kind: 'metrics',
      sourceId: APP,
      processGuid: 'p',
      processType: 'web',
      instanceId: '0',
      instanceGuid: 'i',
      timestamp: '1800000000000000000',
      ...{ cpu: 0.5, cpuEntitlement: 1, memoryBytes: 1, memoryQuotaBytes: 2, diskBytes: 3 },
      ...{ diskQuotaBytes: 4, logRateBytes: 5, logRateLimitBytes: -1 },
    }
    drains.note(measured)
    await append(['a line'])
    await until(() => {
      expect(metrics.messages).toHaveLength(8)
      expect(all.messages).toHaveLength(9)
    })
    expect(metrics.messages[0]).toContain('[gauge@47450 name="cpu" value="50" unit="percentage"][tags@47450')
  })

  it('take requests as the router timed them, alone or with all else', async () => {
    const [traces, all] = [new Collector(), new Collector()]
    const { port } = await syslogServer(traces)
    const { port: second } = await syslogServer(all)
    await want(
      aDrain(`syslog://127.0.0.1:${port}?drain-data=traces`),
      aDrain(`syslog://127.0.0.1:${second}?drain-data=all&exclude-log-types=rtr`),
    )
    await append(['a line'])
    await append(
      [
        'shop.test - [2026-11-21T12:00:00.123456000Z] "GET / HTTP/1.1" 200 0 13 "-" "curl/8" "127.0.0.1:5000" "10.0.0.2:8080" ' +
          'x_forwarded_for:"127.0.0.1" x_forwarded_proto:"http" vcap_request_id:"id" response_time:0.010000 gorouter_time:0.002500 ' +
          `app_id:"${APP}" app_index:"0" instance_id:"instance" x_cf_routererror:"-"`,
      ],
      APP,
      { sourceType: 'RTR' },
    )
    await until(() => {
      expect(traces.messages).toHaveLength(1)
      expect(all.messages).toHaveLength(2)
    })
    expect(traces.messages[0]).toMatch(
      /\[0\] - \[timer@47450 name="http" start="1795262400123456000" stop="1795262400133456000"\]\[tags@47450 .*status_code="200" uri="http:\/\/shop\.test\/"/,
    )
    expect(all.texts[0]).toBe('a line')
    expect(all.messages[1]).toBe(traces.messages[0])
  })

  it('go on where they left off when the target was away, and tell the app', async () => {
    const collector = new Collector()
    const first = await syslogServer(collector)
    await want(aDrain(`syslog://user:secret@127.0.0.1:${first.port}`))
    await append(['one'])
    await until(() => expect(collector.texts).toEqual(['one']))
    first.server.close()
    for (const socket of collector.sockets) socket.destroy()
    await until(() => expect(collector.sockets.size).toBe(0))
    await append(['two', 'three'])
    await until(async () => expect((await told()).join()).toMatch(/does not take the log and is tried again/))
    expect((await told()).join()).not.toContain('secret')
    await syslogServer(collector, first.port)
    await until(() => expect(collector.texts).toEqual(expect.arrayContaining(['two', 'three'])))
  })

  it('go on where they left off when the log store was restarted, also while nobody can say which drains there are', async () => {
    const collector = new Collector()
    const { port } = await syslogServer(collector)
    const drain = aDrain(`syslog://127.0.0.1:${port}`)
    await want(drain)
    await append(['one'])
    await until(() => expect(collector.texts).toEqual(['one']))
    await close()
    await open()
    await append(['two'])
    await close()
    await open()
    await append(['three'])
    await want(drain)
    await until(() => expect(collector.texts).toEqual(['one', 'two', 'three']))
  })

  it('count exactly what a log gave up before a dead target could have it', async () => {
    await close()
    await open({ maxBytes: 8e6, maxLines: 800 })
    const collector = new Collector()
    const { server, port } = await syslogServer(collector)
    server.close()
    await want(aDrain(`syslog://127.0.0.1:${port}`))
    // On a busy machine a notice may itself be given up before the log is read again.
    const notices = new Set<string>()
    const listen = async () => (await told()).forEach((text) => notices.add(text))
    for (let i = 0; i < 30; i++) {
      await append(numbered(i * 100, i * 100 + 100))
      await listen()
    }
    await syslogServer(collector, port)
    await until(() => expect(collector.texts).toContain('line 2999'))
    await until(async () => {
      await listen()
      expect([...notices].some((text) => text.includes('messages lost'))).toBe(true)
    })
    const lost = [...notices].flatMap((text) => /^(\d+) messages lost in user provided syslog drain/.exec(text)?.[1] ?? [])
    const received = new Set(collector.texts.filter((text) => text.startsWith('line ')))
    await close()
    const kept = Object.values(
      JSON.parse(await readFile(join(folder, 'drains.json'), 'utf8')) as Record<string, { lost: number }>,
    )
    await open()
    // What came, what the app was told of, and what it will be told of: the whole, and the notices that went with the rest.
    const sum = received.size + [...lost.map(Number), ...kept.map((each) => each.lost)].reduce((a, b) => a + b, 0)
    expect(sum).toBeGreaterThanOrEqual(3_000)
    expect(sum).toBeLessThanOrEqual(3_010)
  }, 30_000)

  it('of a target that reads nothing hold up nobody and cost no memory', async () => {
    const stuck = new Collector()
    stuck.paused = true
    const good = new Collector()
    const { port } = await syslogServer(stuck)
    const { port: goodPort } = await syslogServer(good)
    await want(aDrain(`syslog://127.0.0.1:${port}`), aDrain(`syslog://127.0.0.1:${goodPort}`, { appGuid: OTHER }))
    const text = 'x'.repeat(2_000)
    const before = process.memoryUsage().rss
    for (let i = 0; i < 200; i++) {
      await append(Array<string>(50).fill(text))
      if (i % 50 === 0) await append([`mine ${i}`], OTHER)
    }
    await until(() => expect(good.texts).toEqual(['mine 0', 'mine 50', 'mine 100', 'mine 150']), 20_000)
    expect(process.memoryUsage().rss - before).toBeLessThan(120 * 1024 * 1024)
    // The connection is given up, and another tried.
    await until(() => expect(stuck.connections).toBeGreaterThan(1), 20_000)
  }, 60_000)

  it('refuse private addresses of tenants, not those that a broker of the operator gave', async () => {
    await close()
    await open(undefined, { allowed: [], own: [] })
    const collector = new Collector()
    const { port } = await syslogServer(collector)
    await want(aDrain(`syslog://localhost:${port}`), aDrain(`syslog://127.0.0.1:${port}`, { appGuid: OTHER, trusted: true }))
    await append(['mine'])
    await append(['trusted'], OTHER)
    await until(() => expect(collector.texts).toEqual(['trusted']))
    await until(async () => expect((await told()).join()).toMatch(/leads to an address that is loopback; ask the operator/))
  })

  it('tell the app of an address that is none', async () => {
    await want(aDrain('udp://somewhere:514'))
    await until(async () => expect(await told()).toEqual([expect.stringMatching(/is not used: its scheme must be one of/)]))
  })
})

describe('drains over TLS', () => {
  const tls = async (names: string[]) => {
    const authority = await createAuthority({ name: 'drains' })
    const server = await issueServerCertificate(authority, names)
    const client = await issueNodeIdentity(authority, { role: 'logs', nodeId: 'client' })
    return { authority, server, client }
  }

  it('verify the server by the authority of the credentials, and show its certificate', async () => {
    const { authority, server, client } = await tls(['localhost'])
    const collector = new Collector()
    const listener = createTlsServer(
      { cert: server.certificatePem, key: server.privateKeyPem, ca: authority.certificatePem, requestCert: true },
      (socket: TLSSocket) => {
        if (socket.authorized) collector.take(socket)
        else socket.destroy()
      },
    )
    const port = await listen(listener)
    const url = `syslog-tls://localhost:${port}`
    await want(
      aDrain(url, {
        certificatePem: client.certificatePem,
        privateKeyPem: client.privateKeyPem,
        authorityPem: authority.certificatePem,
      }),
      aDrain(url, { appGuid: OTHER }),
    )
    await append(['sealed'])
    await append(['unknown authority'], OTHER)
    await until(() => expect(collector.texts).toEqual(['sealed']))
    await until(async () => expect((await told(OTHER)).join()).toMatch(/certificate|self.signed/i))
    for (const socket of collector.sockets) socket.destroy()
  })

  it.each(['https', 'https-batch'])('post over %s, again after a refusal', async (scheme) => {
    const { authority, server } = await tls(['localhost'])
    const bodies: string[] = []
    let refusals = 1
    const heads = new Set<string>()
    const listener = createHttpsServer({ cert: server.certificatePem, key: server.privateKeyPem }, (request, response) => {
      const chunks: Buffer[] = []
      heads.add(`${request.method ?? ''} ${request.url ?? ''} ${request.headers.authorization ?? ''}`)
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        if (refusals-- > 0) return response.writeHead(503).end()
        bodies.push(Buffer.concat(chunks).toString())
        return response.writeHead(200).end()
      })
    })
    const port = await listen(listener)
    await want(aDrain(`${scheme}://u:p%40ss@localhost:${port}/in?token=1`, { authorityPem: authority.certificatePem }))
    await append(['first', 'second'])
    await until(() => expect(bodies.join('')).toMatch(/ first\n[^]* second\n/), 10_000)
    expect([...heads]).toEqual([`POST /in?token=1 Basic ${Buffer.from('u:p@ss').toString('base64')}`])
    if (scheme === 'https') for (const body of bodies) expect(body.trim().split('\n')).toHaveLength(1)
    listener.closeAllConnections()
  })
})
