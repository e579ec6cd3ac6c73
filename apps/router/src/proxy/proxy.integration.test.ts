import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Agent, request, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, it } from '@jest/globals'
import { anEndpoint, aRoute } from '../fake-scheduler.fixture.js'
import { send, sendRaw, startBackend, startPlane, type TestPlane } from './data-plane.fixture.js'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})
const HOST = 'app.test'
const at = (revision: number): { epoch: string; revision: number } => ({ epoch: '1', revision })

async function plane(options?: Parameters<typeof startPlane>[0]): Promise<TestPlane> {
  const started = await startPlane(options)
  closers.push(started.close)
  return started
}
async function backend(handle: RequestListener): Promise<number> {
  const started = await startBackend(handle)
  closers.push(started.close)
  return started.port
}
/** A plane with the route of one app, whose instances are the given handlers. */
async function serving(...handlers: RequestListener[]): Promise<TestPlane> {
  const [router, ...ports] = await Promise.all([plane(), ...handlers.map(backend)])
  const endpoints = ports.map((port, index) => anEndpoint({ port, index }))
  router.table.change([aRoute(HOST, endpoints)], [], at(1))
  return router
}
const echo: RequestListener = (message, response) => {
  const hash = createHash('sha256')
  let bytes = 0
  message.on('data', (chunk: Buffer) => {
    hash.update(chunk)
    bytes += chunk.length
  })
  message.once('end', () => {
    const { method, url, rawHeaders, headers } = message
    response.end(JSON.stringify({ method, url, headers, rawHeaders, bytes, sha: hash.digest('hex') }))
  })
}
interface Echo {
  method: string
  url: string
  headers: IncomingMessage['headers']
  bytes: number
  sha: string
}
const parsed = (body: string): Echo => JSON.parse(body) as Echo
/** The line is written when the exchange is over, which may be after the client has seen the end. */
async function logged(lines: readonly unknown[]): Promise<void> {
  for (let i = 0; i < 200 && lines.length === 0; i++) await delay(10)
}
/** A port at which nobody listens. */
async function deadPort(): Promise<number> {
  const server = createTcpServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

describe('a request to an instance', () => {
  it('is known to be under way until its answer is complete, also when its instance is withdrawn meanwhile', async () => {
    let held: ServerResponse | undefined
    const router = await serving((_message, response) => {
      response.write('begun ')
      held = response
    })
    let answered = 0
    router.table.openRequests.onAnswered(() => answered++)
    const reply = send(router.port, HOST)
    for (let i = 0; i < 200 && !held; i++) await delay(10)
    router.table.change([aRoute(HOST, [])], [], at(2))
    expect(router.table.openRequests.answering).toHaveLength(1)
    held?.end('done')
    expect((await reply).body).toBe('begun done')
    for (let i = 0; i < 200 && answered === 0; i++) await delay(10)
    expect([router.table.openRequests.answering, answered]).toEqual([[], 1])
  })

  it('passes with its target byte for byte and the fields that instances rely on', async () => {
    const { port } = await serving(echo)
    const { status, headers, body } = await send(port, HOST, {
      path: '/a%2Fb//c?x=%41;y=1',
      headers: {
        'x-forwarded-for': '10.1.1.1',
        'x-vcap-request-id': 'forged',
        'x-cf-applicationid': 'forged',
        'x-hop': '1',
        connection: 'keep-alive, x-hop, x-forwarded-for, host',
        'proxy-authorization': 'secret',
        te: 'trailers, deflate',
      },
    })
    const seen = parsed(body)
    expect(status).toBe(200)
    expect(seen.url).toBe('/a%2Fb//c?x=%41;y=1')
    expect(seen.headers).toMatchObject({
      host: HOST,
      'x-forwarded-for': '10.1.1.1, 127.0.0.1',
      'x-forwarded-proto': 'http',
      'x-cf-applicationid': '0f2a0bd0-1111-4222-8333-0123456789ab',
      'x-cf-instanceindex': '0',
      te: 'trailers',
    })
    expect(seen.headers['x-cf-instanceid']).toMatch(/^instance-/)
    expect(Number(seen.headers['x-request-start'])).toBeGreaterThan(1e12)
    expect(seen.headers['x-vcap-request-id']).toMatch(/^[0-9a-f-]{36}$/)
    expect(headers['x-vcap-request-id']).toBe(seen.headers['x-vcap-request-id'])
    expect(seen.headers).not.toHaveProperty('x-hop')
    expect(seen.headers).not.toHaveProperty('proxy-authorization')
    expect(seen.headers).not.toHaveProperty('user-agent')
  })

  it('keeps X-Forwarded-Proto and X-Request-Start of a proxy in front', async () => {
    const { port } = await serving(echo)
    const { body } = await send(port, HOST, { headers: { 'x-forwarded-proto': 'https', 'x-request-start': '17' } })
    expect(parsed(body).headers).toMatchObject({ 'x-forwarded-proto': 'https', 'x-request-start': '17' })
  })

  it('gets the response with its fields, status text and repeated cookies', async () => {
    const { port } = await serving((_request, response) => {
      response.writeHead(418, 'Short and stout', [
        ...[
          'Set-Cookie',
          'a=1',
          'Set-Cookie',
          'b=2',
          'X-CF-Proxy-Signature',
          'secret',
          'Connection',
          'X-Private',
          'X-Private',
          '1',
        ],
      ])
      response.end('tea')
    })
    const { text } = await sendRaw(port, `GET / HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\n\r\n`)
    expect(text).toMatch(/^HTTP\/1\.1 418 Short and stout\r\n/)
    expect(text).toContain('Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n')
    expect(text).not.toMatch(/signature|x-private/i)
    expect(text).toMatch(/\r\nDate: /)
  })

  it.each(['Content-Length', 'Transfer-Encoding'])('streams a body with %s both ways, whole', async (framing) => {
    const payload = randomBytes(5 * 1024 * 1024)
    const { port, lines } = await serving((message, response) => message.pipe(response))
    const headers = framing === 'Content-Length' ? { 'content-length': payload.length } : { 'transfer-encoding': 'chunked' }
    const received = await new Promise<Buffer>((resolve, reject) => {
      const call = request(
        { host: '127.0.0.1', port, method: 'POST', agent: false, headers: { host: HOST, ...headers } },
        (response) => {
          const chunks: Buffer[] = []
          response.on('data', (chunk: Buffer) => chunks.push(chunk))
          response.once('end', () => resolve(Buffer.concat(chunks)))
        },
      )
      call.once('error', reject)
      for (let i = 0; i < payload.length; i += 65_536) call.write(payload.subarray(i, i + 65_536))
      call.end()
    })
    expect(received.equals(payload)).toBe(true)
    await logged(lines)
    expect(lines[0]?.text).toContain(`200 ${payload.length} ${payload.length} `)
  })

  it('answers HEAD, 204 and 304 without a body and keeps the connection usable', async () => {
    const { port } = await serving((message, response) => {
      if (message.url === '/204' || message.url === '/304') response.writeHead(Number(message.url.slice(1))).end()
      else response.writeHead(200, { 'content-length': 5 }).end('hello')
    })
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const head = await send(port, HOST, { method: 'HEAD', agent })
    expect([head.status, head.headers['content-length'], head.body]).toEqual([200, '5', ''])
    expect((await send(port, HOST, { path: '/204', agent })).status).toBe(204)
    expect((await send(port, HOST, { path: '/304', agent })).status).toBe(304)
    expect((await send(port, HOST, { agent })).body).toBe('hello')
    agent.destroy()
  })

  it('passes trailers both ways', async () => {
    const { port } = await serving((message, response) => {
      message.resume().once('end', () => {
        response.writeHead(200, { Trailer: 'X-Sum' })
        response.write('body')
        response.addTrailers({ 'X-Sum': String(message.trailers['x-count']) })
        response.end()
      })
    })
    const { text } = await sendRaw(
      port,
      `POST / HTTP/1.1\r\nHost: ${HOST}\r\nTE: trailers\r\nTrailer: X-Count\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Count: 7\r\n\r\n`,
    )
    expect(text).toMatch(/0\r\nX-Sum: 7\r\n\r\n$/)
  })

  it('sends the head of an event stream before its first event', async () => {
    const { port } = await serving((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
    })
    const { text } = await sendRaw(port, `GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
    expect(text).toContain('Content-Type: text/event-stream'.toLowerCase())
  })

  it('lets the instance decide on Expect: 100-continue', async () => {
    const started = await startBackend((_request, response) => response.end())
    closers.push(started.close)
    started.server.on('checkContinue', (message: IncomingMessage, response) => {
      if (message.url === '/no') response.writeHead(413).end()
      else {
        response.writeContinue()
        echo(message, response)
      }
    })
    const router = await plane()
    router.table.change([aRoute(HOST, [anEndpoint({ port: started.port })])], [], at(1))
    const post = (path: string): string =>
      `POST ${path} HTTP/1.1\r\nHost: ${HOST}\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n`
    expect((await sendRaw(router.port, post('/no'))).text).toMatch(/^HTTP\/1\.1 413 /)
    const waiting = await sendRaw(router.port, post('/yes'))
    expect(waiting.text).toBe('HTTP/1.1 100 Continue\r\n\r\n')
    expect((await sendRaw(router.port, `${post('/yes')}hi`)).text).toMatch(/"bytes":2/)
  })

  it('holds a fast instance back while the client reads slowly', async () => {
    let written = 0
    const { port } = await serving((_request, response) => {
      const chunk = Buffer.alloc(64 * 1024)
      const push = (): void => {
        while (written < 256 * 1024 * 1024) {
          written += chunk.length
          if (!response.write(chunk)) return void response.once('drain', push)
        }
      }
      push()
    })
    const call = request({ host: '127.0.0.1', port, agent: false, headers: { host: HOST } }).end()
    const [response] = (await once(call, 'response')) as [IncomingMessage]
    response.pause()
    let before = -1
    while (before !== written) {
      before = written
      await delay(150)
    }
    expect(written).toBeLessThan(64 * 1024 * 1024)
    call.destroy()
  })

  it('holds a fast client back while the instance reads slowly', async () => {
    const { port } = await serving((message) => void message.pause())
    const call = request({ host: '127.0.0.1', port, agent: false, method: 'POST', headers: { host: HOST } })
    call.on('error', () => undefined)
    const chunk = Buffer.alloc(64 * 1024)
    let sent = 0
    while (sent < 256 * 1024 * 1024) {
      sent += chunk.length
      if (!call.write(chunk) && !(await Promise.race([once(call, 'drain').then(() => true), delay(500, false)]))) break
    }
    expect(sent).toBeLessThan(64 * 1024 * 1024)
    call.destroy()
  })

  it('cuts the connection when the instance dies midway, so that the body does not look whole', async () => {
    const { port, lines } = await serving((_request, response) => {
      response.writeHead(200)
      response.write('half')
      setTimeout(() => response.destroy(), 20)
    })
    await expect(send(port, HOST)).rejects.toThrow(/aborted|socket hang up/)
    await logged(lines)
    expect(lines[0]?.text).toContain('endpoint_failure (response cut off)')
  })

  it('lets go of the instance when the client goes away', async () => {
    let closed: () => void = () => undefined
    const gone = new Promise<void>((resolve) => (closed = resolve))
    let arrive: () => void = () => undefined
    const arrived = new Promise<void>((resolve) => (arrive = resolve))
    const { port, lines } = await serving((message) => {
      message.socket.once('close', closed)
      arrive()
    })
    const call = request({ host: '127.0.0.1', port, agent: false, headers: { host: HOST } }).end()
    call.on('error', () => undefined)
    await arrived
    call.destroy()
    await gone
    await logged(lines)
    expect(lines[0]?.text).toContain('" 499 0 0 ')
  })

  it('answers pipelined requests in order', async () => {
    const { port } = await serving(
      (message, response) => void setTimeout(() => response.end(message.url), message.url === '/1' ? 40 : 0),
    )
    const { text } = await sendRaw(
      port,
      ['/1', '/2', '/3'].map((path) => `GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`).join(''),
    )
    expect([...text.matchAll(/\r\n\r\n[^/]*(\/\d)/g)].map((match) => match[1])).toEqual(['/1', '/2', '/3'])
  })

  it('reuses connections to an instance, and gives another instance at the same address its own', async () => {
    const sockets = new Set<unknown>()
    const { port, table } = await serving((message, response) => {
      sockets.add(message.socket)
      response.end()
    })
    for (let i = 0; i < 5; i++) await send(port, HOST)
    expect(sockets.size).toBe(1)
    const { endpoints } = table.find(HOST, '/')!
    table.change([aRoute(HOST, [{ ...endpoints[0]!, instanceGuid: 'another' }])], [], at(2))
    await send(port, HOST)
    expect(sockets.size).toBe(2)
  })

  it('dials the own address of an instance on this machine', async () => {
    const router = await plane({ localCells: ['c1'] })
    const local = await backend((_request, response) => response.end('local'))
    router.table.change([aRoute(HOST, [anEndpoint({ port: 1, localAddress: `127.0.0.1:${local}` })])], [], at(1))
    expect((await send(router.port, HOST)).body).toBe('local')
  })
})

describe('a dead instance', () => {
  it('costs no request while another lives, with or without a body', async () => {
    const router = await plane()
    const [dead, alive] = [await deadPort(), await backend(echo)]
    router.table.change([aRoute(HOST, [anEndpoint({ port: dead }), anEndpoint({ port: alive })])], [], at(1))
    const body = randomBytes(300_000)
    for (let i = 0; i < 6; i++) {
      const reply = await send(router.port, HOST, { method: 'POST', body })
      expect([reply.status, parsed(reply.body).bytes]).toEqual([200, body.length])
    }
  })

  it('is passed over for 30 s', async () => {
    const router = await plane()
    const [dead, alive] = [await deadPort(), await backend(echo)]
    const endpoints = [anEndpoint({ port: dead }), anEndpoint({ port: alive })]
    router.table.change([aRoute(HOST, endpoints)], [], at(1))
    for (let i = 0; i < 4; i++) await send(router.port, HOST)
    expect(router.table.health.isFailed(endpoints[0]!)).toBe(true)
    expect(router.table.health.isFailed(endpoints[1]!)).toBe(false)
  })

  it('gives 502 in the words that clients know when no other is left', async () => {
    const router = await plane()
    const dead = await deadPort()
    router.table.change([aRoute(HOST, [anEndpoint({ port: dead })])], [], at(1))
    const { status, headers, body } = await send(router.port, HOST)
    expect([status, body]).toEqual([502, '502 Bad Gateway: Registered endpoint failed to handle the request.\n'])
    expect(headers['x-cf-routererror']).toBe(`endpoint_failure (dial tcp 127.0.0.1:${dead}: connect: connection refused)`)
    await logged(router.lines)
    expect(router.lines[0]?.text).toMatch(/" 502 0 67 .*x_cf_routererror:"endpoint_failure \(dial/)
  })

  it('is not asked again for what it may have begun to do', async () => {
    let asked = 0
    const die: RequestListener = (message) => {
      asked++
      message.socket.destroy()
    }
    const { port } = await serving(die, die)
    expect((await send(port, HOST)).status).toBe(502)
    expect((await send(port, HOST, { method: 'POST', body: 'x' })).status).toBe(502)
    expect(asked).toBe(2)
  })

  it('that only closed an idle connection is asked once more on a new one', async () => {
    let dropping = false
    const { port } = await serving((message, response) => {
      // The first request on a connection is answered, the second finds it closed.
      if (dropping) {
        dropping = false
        message.socket.destroy()
      } else response.end('fine')
    })
    expect((await send(port, HOST)).body).toBe('fine')
    dropping = true
    expect((await send(port, HOST)).body).toBe('fine')
    dropping = true
    // What cannot be repeated never travels on a connection that may be stale.
    expect((await send(port, HOST, { method: 'POST', body: 'x' })).status).toBe(502)
  })
})

describe('changes of routes under load', () => {
  it('fail no request when blue gives way to green', async () => {
    const router = await plane()
    const start = (name: string): ReturnType<typeof startBackend> =>
      startBackend((_request, response) => void setTimeout(() => response.end(name), 3))
    const [blue, green] = [await start('blue'), await start('green')]
    const [blueEnd, greenEnd] = [anEndpoint({ port: blue.port }), anEndpoint({ port: green.port })]
    router.table.change([aRoute(HOST, [blueEnd])], [], at(1))
    const agent = new Agent({ keepAlive: true })
    const seen: string[] = []
    let running = true
    const load = Array.from({ length: 10 }, async () => {
      while (running) {
        const reply = await send(router.port, HOST, { agent }).catch((error: unknown) => ({ status: 0, body: String(error) }))
        seen.push(`${reply.status} ${reply.body}`)
      }
    })
    await delay(150)
    router.table.change([aRoute(HOST, [blueEnd, greenEnd])], [], at(2))
    await delay(150)
    router.table.change([aRoute(HOST, [greenEnd])], [], at(3))
    // As the platform does: out of the routes first, then the stop, which lets requests under way end.
    blue.server.closeIdleConnections()
    await new Promise((resolve) => blue.server.close(resolve))
    await delay(150)
    running = false
    await Promise.all(load)
    agent.destroy()
    await green.close()
    expect(new Set(seen)).toEqual(new Set(['200 blue', '200 green']))
    expect(seen.length).toBeGreaterThan(20)
    expect(seen.at(-1)).toBe('200 green')
  })
})

describe('draining', () => {
  it('answers health with 503 first, ends requests under way, then closes', async () => {
    const { port, plane: draining } = await serving((_request, response) => void setTimeout(() => response.end('done'), 200))
    const health = (): ReturnType<typeof send> => send(port, 'anything', { headers: { 'user-agent': 'HTTP-Monitor/1.1' } })
    expect(await health()).toMatchObject({ status: 200, body: 'ok\n', headers: { 'cache-control': 'private, max-age=0' } })
    draining.announceDrain()
    expect((await health()).status).toBe(503)
    const open = send(port, HOST)
    await delay(50)
    const closing = draining.close(2_000, 0)
    expect(await open).toMatchObject({ status: 200, body: 'done', headers: { connection: 'close' } })
    await closing
    await expect(send(port, HOST)).rejects.toThrow('ECONNREFUSED')
  })

  it('cuts what outlasts the timeout', async () => {
    const { port, plane: draining } = await serving(() => undefined)
    const open = send(port, HOST)
    const outcome = expect(open).rejects.toThrow(/hang up|RESET/)
    await delay(50)
    await draining.close(100, 0)
    await outcome
  })
})
