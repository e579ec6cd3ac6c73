import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { request } from 'node:http'
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Duplex, Readable, Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { BuiltRouter, eventually, memoryOf } from './built-router.fixture.js'
import { anEndpoint, aRoute } from './fake-scheduler.fixture.js'

const MiB = 1024 * 1024
/** A gigabyte in the longer suites, by each of a client's protocols; the other ways need not be as long. */
function sizeOf(client: string, path: string, sized: boolean): number {
  if (process.env['BLOOMERY_TEST_FULL'] === undefined) return 16 * MiB
  return (path === '/' && (client === 'HTTP/1.1' || sized) ? 1024 : 128) * MiB
}
/** What a worker may need beyond its idle size while that much passes. */
const MAX_GROWTH_MIB = 60
/** What may be on the way to a peer that takes next to nothing: the systems' own buffers and the router's. */
const MAX_UNDER_WAY = 24 * MiB

let router: BuiltRouter
let instance: ChildProcess
let instanceHttp2: ChildProcess
beforeAll(async () => {
  router = await BuiltRouter.prepare({ BLOOMERY_ROUTER_WORKERS: '1' })
  const [one, two] = await Promise.all([startInstance('http'), startInstance('http2')])
  instance = one.child
  instanceHttp2 = two.child
  router.scheduler.publish(aRoute('app.test', [anEndpoint({ port: one.port })]))
  router.scheduler.publish(aRoute('app.test/h2', [anEndpoint({ port: two.port, protocol: 'http2' })]))
  await router.start()
}, 60_000)
afterAll(async () => {
  instance.kill('SIGKILL')
  instanceHttp2.kill('SIGKILL')
  await router.close()
})

/**
 * A process of its own: sends `?down=<bytes>`, sized with `&sized`, and after a request the count of bytes that it got; what it could
 * write so far it tells at `?written`, what it has read at `?read`.
 */
async function startInstance(kind: 'http' | 'http2'): Promise<{ child: ChildProcess; port: number }> {
  const program = `
    let [written, read] = [0, 0]
    const chunk = Buffer.alloc(65536, 'x')
    const server = require('${kind}').createServer((message, response) => {
      const query = new URL(message.url, 'http://x').searchParams
      if (query.has('written')) return response.end(String(written))
      if (query.has('read')) return response.end(String(read))
      const down = Number(query.get('down') ?? 0)
      if (down > 0) {
        written = 0
        if (query.has('sized')) response.setHeader('content-length', down)
        const push = () => {
          while (written < down) {
            const part = down - written < chunk.length ? chunk.subarray(0, down - written) : chunk
            written += part.length
            if (!response.write(part)) return response.once('drain', push)
          }
          response.end()
        }
        return push()
      }
      read = 0
      if (query.has('slow')) {
        const sip = () => { const bytes = message.read(1); if (bytes) read += bytes.length; setTimeout(sip, 100) }
        return sip()
      }
      message.on('data', (part) => (read += part.length))
      message.on('end', () => response.end(String(read)))
    })
    server.listen(0, '127.0.0.1', () => console.log(server.address().port))`
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
  return { child, port: Number(String((await once(child.stdout, 'data'))[0])) }
}

const session = (): ClientHttp2Session =>
  connectHttp2(`https://127.0.0.1:${router.httpsPort}`, { ca: router.ca, servername: 'app.test' })

/** The worker's memory at its highest while the work lasts, over that before. */
async function growthDuring(work: () => Promise<void>): Promise<number> {
  const { w0: pid = 0 } = await router.workers()
  const before = memoryOf(pid).now
  let highest = before
  const timer = setInterval(() => (highest = Math.max(highest, memoryOf(pid).now)), 20)
  try {
    await work()
  } finally {
    clearInterval(timer)
  }
  return highest - before
}

async function countAll(readable: Readable): Promise<number> {
  let bytes = 0
  for await (const part of readable) bytes += (part as Buffer).length
  return bytes
}
async function pour(into: Writable, size: number): Promise<void> {
  const chunk = Buffer.alloc(65_536)
  for (let sent = 0; sent < size; sent += chunk.length) if (!into.write(chunk)) await once(into, 'drain')
  into.end()
}

/** One exchange by the client's protocol. */
async function exchange(
  client: 'HTTP/1.1' | 'HTTP/2',
  path: string,
  upload: { size: number; sized: boolean } | undefined,
): Promise<number | string> {
  const length = upload?.sized === true ? { 'content-length': String(upload.size) } : {}
  const method = upload ? 'POST' : 'GET'
  let body: Readable
  let sending: Promise<void> = Promise.resolve()
  let over: ClientHttp2Session | undefined
  if (client === 'HTTP/1.1') {
    const call = request({
      host: '127.0.0.1',
      port: router.port,
      method,
      path,
      agent: false,
      headers: { host: 'app.test', ...length },
    })
    const answered = once(call, 'response')
    if (upload) sending = pour(call, upload.size)
    else call.end()
    ;[body] = (await answered) as [Readable]
  } else {
    over = session()
    const stream = over.request({ ':method': method, ':path': path, ':authority': 'app.test', ...length }, { endStream: !upload })
    if (upload) sending = pour(stream, upload.size)
    body = stream
  }
  const received = upload ? Buffer.concat(await body.toArray()).toString() : await countAll(body)
  await sending
  over?.close()
  return received
}

describe.each(['HTTP/1.1', 'HTTP/2'] as const)('a client of %s', (client) => {
  describe.each(['/', '/h2'] as const)('with an instance at %s', (path) => {
    it.each([true, false])(
      'gets and sends as much as it likes through flat memory, of stated length: %s',
      async (sized) => {
        const size = sizeOf(client, path, sized)
        // The first request of a kind makes what all of them use.
        await exchange(client, `${path}?down=${MiB}${sized ? '&sized' : ''}`, undefined)
        await exchange(client, path, { size: MiB, sized })
        const down = await growthDuring(async () =>
          expect(await exchange(client, `${path}?down=${size}${sized ? '&sized' : ''}`, undefined)).toBe(size),
        )
        const up = await growthDuring(async () => expect(await exchange(client, path, { size, sized })).toBe(String(size)))
        process.stdout.write(
          `${client} ${path} sized ${sized}: ${size / MiB} MiB down +${down.toFixed(0)} MiB, up +${up.toFixed(0)} MiB\n`,
        )
        expect(Math.max(down, up)).toBeLessThan(MAX_GROWTH_MIB)
      },
      900_000,
    )
  })
})

describe('a client that reads a byte a second', () => {
  /** Reads nothing but what it is told to. */
  async function slowReader(kind: string, path: string): Promise<{ close(): void }> {
    if (kind === 'HTTP/2') {
      const over = session()
      const stream = over.request({ ':path': path, ':authority': 'app.test' })
      const timer = setInterval(() => void stream.read(1), 1_000)
      await once(stream, 'response')
      return {
        close: () => {
          clearInterval(timer)
          over.destroy()
        },
      }
    }
    const socket: Duplex =
      kind === 'TLS'
        ? connectTls({
            port: router.httpsPort,
            host: '127.0.0.1',
            ca: router.ca,
            servername: 'app.test',
            ALPNProtocols: ['http/1.1'],
          })
        : connect(router.port, '127.0.0.1')
    socket.write(`GET ${path} HTTP/1.1\r\nHost: app.test\r\n\r\n`)
    await once(socket, 'readable')
    const timer = setInterval(() => void socket.read(1), 1_000)
    return {
      close: () => {
        clearInterval(timer)
        socket.destroy()
      },
    }
  }
  const told = async (path: string): Promise<number> => Number(await textOf(path))

  it.each([
    ['plain', '/'],
    ['TLS', '/'],
    ['HTTP/2', '/'],
    ['plain', '/h2'],
    ['HTTP/2', '/h2'],
  ])('holds neither the instance’s memory nor the router’s (%s, %s)', async (kind, path) => {
    let reader: { close(): void } | undefined
    const growth = await growthDuring(async () => {
      reader = await slowReader(kind, `${path}?down=${1024 * MiB}`)
      const taken = await settled(() => told(`${path}?written`))
      expect(taken).toBeGreaterThan(0)
      expect(taken).toBeLessThan(MAX_UNDER_WAY)
    })
    reader?.close()
    expect(growth).toBeLessThan(MAX_GROWTH_MIB)
  })

  it.each([
    ['HTTP/1.1', '/'],
    ['HTTP/2', '/'],
    ['HTTP/1.1', '/h2'],
    ['HTTP/2', '/h2'],
  ])('as an instance is not sent more than it takes (%s, %s)', async (client, path) => {
    const over = client === 'HTTP/2' ? session() : undefined
    const call: Writable = over
      ? over.request({ ':method': 'POST', ':path': `${path}?slow`, ':authority': 'app.test' }, { endStream: false })
      : request({
          host: '127.0.0.1',
          port: router.port,
          method: 'POST',
          path: `${path}?slow`,
          agent: false,
          headers: { host: 'app.test' },
        })
    call.on('error', () => undefined)
    let sent = 0
    const chunk = Buffer.alloc(65_536)
    const push = (): void => {
      while (sent < 256 * MiB) {
        sent += chunk.length
        if (!call.write(chunk)) return void call.once('drain', push)
      }
    }
    const growth = await growthDuring(async () => {
      push()
      expect(await settled(() => Promise.resolve(sent))).toBeLessThan(MAX_UNDER_WAY)
    })
    call.destroy()
    over?.destroy()
    expect(growth).toBeLessThan(MAX_GROWTH_MIB)
  })

  it('as an uploader costs an instance one open request and the router a buffer', async () => {
    const { w0: pid = 0 } = await router.workers()
    const before = memoryOf(pid).now
    const sockets: Socket[] = []
    for (let i = 0; i < 200; i++) {
      const socket = connect(router.port, '127.0.0.1')
      sockets.push(socket)
      socket.on('error', () => undefined)
      socket.write(`POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1000000\r\n\r\nx`)
    }
    for (let i = 0; i < 3; i++) {
      await delay(1_000)
      for (const socket of sockets) socket.write('x')
    }
    // Others are served meanwhile.
    expect(await textOf('/?read')).toMatch(/^\d+$/)
    const growth = memoryOf(pid).now - before
    for (const socket of sockets) socket.destroy()
    expect(growth / 200).toBeLessThan(0.1)
  })
})

const textOf = (path: string): Promise<string> =>
  new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port: router.port, path, agent: false, headers: { host: 'app.test' } }, (response) => {
      void response.toArray().then((parts: Buffer[]) => resolve(Buffer.concat(parts).toString()), reject)
    })
      .once('error', reject)
      .end()
  })

/** The value once it has stayed the same for a while. */
async function settled(value: () => Promise<number>): Promise<number> {
  let [last, since] = [await value(), Date.now()]
  return eventually(async () => {
    const now = await value()
    if (now !== last) [last, since] = [now, Date.now()]
    if (Date.now() - since < 700) throw new Error(`still moving: ${now}`)
    return now
  }, 20_000)
}
