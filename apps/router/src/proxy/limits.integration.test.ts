import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect as connectHttp2, constants, type ClientHttp2Session } from 'node:http2'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { createAuthority, issueServerCertificate } from '@bloomery/pki'
import type { RouteEndpoint } from '@bloomery/contracts'
import { anEndpoint, aRoute } from '../fake-scheduler.fixture.js'
import { send, sendRaw, startBackend, startPlane, type TestPlane } from './data-plane.fixture.js'
import type { Limits } from './limits.js'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})
const HOST = 'app.test'
let ca: string
let certificate: { names: string[]; certificatePem: string; privateKeyPem: string }
beforeAll(async () => {
  const authority = await createAuthority({ name: 'test' })
  ca = authority.certificatePem
  certificate = { names: [HOST], ...(await issueServerCertificate(authority, [HOST])) }
})

interface Setting {
  readonly limits: Partial<Limits>
  readonly proxyProtocol?: boolean
  readonly endpoint?: Partial<RouteEndpoint> & { readonly port: number }
}
async function router({ limits, proxyProtocol = false, endpoint }: Setting): Promise<TestPlane> {
  const backend = await startBackend((message, response) => {
    if (message.url === '/hold') response.write('held')
    else message.resume().once('end', () => response.end('ok'))
  })
  const plane = await startPlane({ limits, certificate, listener: { proxyProtocol } })
  closers.push(backend.close, plane.close)
  plane.table.change([aRoute(HOST, [anEndpoint(endpoint ?? { port: backend.port })])], [], { epoch: '1', revision: 1 })
  return plane
}
function session(port: number, localAddress = '127.0.0.1'): ClientHttp2Session {
  const opened = connectHttp2(`https://127.0.0.1:${port}`, { ca, servername: HOST, ...{ localAddress } })
  opened.on('error', () => undefined)
  closers.push(() => opened.destroy())
  return opened
}
/** Status, or the code by which the request was refused. */
const ask = (over: ClientHttp2Session, path = '/', more: Record<string, string> = {}): Promise<number | string> =>
  new Promise((resolve) => {
    const stream = over.request(
      { ':authority': HOST, ':path': path, ...more },
      { endStream: more[':method'] !== 'POST' || 'content-length' in more },
    )
    stream.once('response', (fields) => {
      resolve(fields[':status'] ?? 0)
      if (path !== '/hold') stream.resume()
    })
    stream.once('error', (error: NodeJS.ErrnoException) => resolve(error.message.replace(/.*code /, '')))
    stream.once('close', () => resolve(`closed ${stream.rstCode}`))
  })
/** Resolves with what came until the other side ends the connection. */
function untilClosed(socket: Socket): Promise<string> {
  let text = ''
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
  socket.on('error', () => undefined)
  return new Promise((resolve) => socket.once('close', () => resolve(text)))
}
const holding = async (port: number, localAddress = '127.0.0.1'): Promise<Socket> => {
  const socket = connect({ port, host: '127.0.0.1', localAddress })
  closers.push(() => socket.destroy())
  socket.on('error', () => undefined)
  socket.write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
  await Promise.race([once(socket, 'data'), once(socket, 'close')])
  return socket
}
/** The count falls when the server has seen the close, a moment after the client has. */
async function eventually<T>(attempt: () => Promise<T>, wanted: T): Promise<void> {
  const deadline = Date.now() + 5_000
  for (;;) {
    const got = await attempt().catch(() => undefined)
    if (got === wanted) return
    if (Date.now() > deadline) return expect(got).toBe(wanted)
  }
}

describe('one client’s connections', () => {
  it('are bounded, plain and TLS together, handshakes too; others are served meanwhile', async () => {
    const plane = await router({ limits: { maxConnectionsPerClient: 4 } })
    const [first] = [await holding(plane.port), await holding(plane.port)]
    const silent = connect({ port: plane.httpsPort, host: '127.0.0.1' })
    const secured = connectTls({ port: plane.httpsPort, host: '127.0.0.1', ca, servername: HOST })
    closers.push(
      () => silent.destroy(),
      () => secured.destroy(),
    )
    await once(secured, 'secureConnect')
    await expect(send(plane.port, HOST)).rejects.toThrow(/RESET|hang up/)
    expect((await send(plane.port, HOST, { localAddress: '127.0.0.2' })).status).toBe(200)
    first.destroy()
    await eventually(async () => (await send(plane.port, HOST)).status, 200)
  })

  it('include those of HTTP/2, each request under way counting like one', async () => {
    const plane = await router({ limits: { maxConnectionsPerClient: 4 } })
    const over = session(plane.httpsPort)
    expect(await Promise.all([ask(over, '/hold'), ask(over, '/hold'), ask(over, '/hold')])).toEqual([200, 200, 200])
    expect(await ask(over)).toBe('NGHTTP2_REFUSED_STREAM')
    await expect(send(plane.port, HOST)).rejects.toThrow(/RESET|hang up/)
    const other = session(plane.httpsPort, '127.0.0.3')
    expect(await ask(other)).toBe(200)
    over.destroy()
    await eventually(async () => (await send(plane.port, HOST)).status, 200)
    // Requests that are over count no more.
    for (let i = 0; i < 10; i++) expect(await ask(other)).toBe(200)
  })

  it('are those of the client that a load balancer names', async () => {
    const plane = await router({ limits: { maxConnectionsPerClient: 1 }, proxyProtocol: true })
    const through = (client: string): Promise<{ text: string; closed: boolean }> =>
      sendRaw(plane.port, `PROXY TCP4 ${client} 192.0.2.1 1234 80\r\nGET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`, 300)
    const socket = connect(plane.port, '127.0.0.1')
    closers.push(() => socket.destroy())
    socket.write(`PROXY TCP4 198.51.100.7 192.0.2.1 1234 80\r\nGET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
    await once(socket, 'data')
    expect(await through('198.51.100.7')).toMatchObject({ text: '', closed: true })
    expect((await through('198.51.100.8')).text).toContain('200 OK')
    expect(plane.lines.map(({ text }) => /"(198[^"]*):1234"/.exec(text)?.[1])).toEqual(['198.51.100.7', '198.51.100.8'])
  })

  it('may be as many as come', async () => {
    const plane = await router({ limits: { maxConnectionsPerClient: 0 } })
    for (let i = 0; i < 30; i++) await holding(plane.port)
    expect((await send(plane.port, HOST)).status).toBe(200)
  })
})

describe('a client that keeps the router waiting', () => {
  it('for the head is told so, however steadily it trickles', async () => {
    const { port } = await router({ limits: { headMs: 300 } })
    const socket = connect(port, '127.0.0.1')
    const closed = untilClosed(socket)
    socket.write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\nX-Long: `)
    const trickle = setInterval(() => socket.write('a'), 50)
    const text = await closed
    clearInterval(trickle)
    expect(text).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n[^]*X-Cf-RouterError: request_timeout\r\n[^]*Connection: close\r\n/)
  })

  it('for the first byte of its first head loses its connection, on HTTP/2 too', async () => {
    const plane = await router({ limits: { headMs: 300 } })
    const started = Date.now()
    expect(await untilClosed(connect(plane.port, '127.0.0.1'))).toBe('')
    const secured = connectTls({ port: plane.httpsPort, host: '127.0.0.1', ca, servername: HOST })
    expect(await untilClosed(secured)).toBe('')
    const over = session(plane.httpsPort)
    await once(over, 'close')
    expect(Date.now() - started).toBeLessThan(6_000)
  })

  it.each(['Content-Length: 10', 'Transfer-Encoding: chunked'])('for its body loses its connection: %s', async (framing) => {
    const { port, lines } = await router({ limits: { bodyIdleMs: 300 } })
    const socket = connect(port, '127.0.0.1')
    const closed = untilClosed(socket)
    socket.write(`POST / HTTP/1.1\r\nHost: ${HOST}\r\n${framing}\r\n\r\n`)
    expect(await closed).toBe('')
    expect(lines[0]?.text).toMatch(/ 499 0 0 /)
  })

  it('for a body on HTTP/2 loses that request alone', async () => {
    const plane = await router({ limits: { bodyIdleMs: 300 } })
    const over = session(plane.httpsPort)
    expect(await ask(over, '/', { ':method': 'POST' })).toBe(`closed ${constants.NGHTTP2_CANCEL}`)
    expect(await ask(over)).toBe(200)
  })

  it('for its next request loses its connection without a word', async () => {
    const plane = await router({ limits: { idleMs: 300 } })
    const socket = connect(plane.port, '127.0.0.1')
    const closed = untilClosed(socket)
    socket.write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
    expect((await closed).match(/HTTP\/1\.1/g)).toHaveLength(1)
    const over = session(plane.httpsPort)
    expect(await ask(over)).toBe(200)
    await once(over, 'close')
  })
})

describe('an instance that keeps the router waiting', () => {
  const silent = async (): Promise<number> => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined)
      socket.resume()
      closers.push(() => socket.destroy())
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    closers.push(() => server.close())
    return (server.address() as AddressInfo).port
  }
  const LATE = /^endpoint_failure \(.*timeout awaiting response headers\)$/

  it.each(['http1', 'http2'] as const)('for the head of its answer is 502 (%s)', async (protocol) => {
    const plane = await router({ limits: { responseMs: 300 }, endpoint: { port: await silent(), protocol } })
    for (const options of [{}, { method: 'POST', body: 'hi' }])
      expect(await send(plane.port, HOST, options)).toMatchObject({
        status: 502,
        headers: { 'x-cf-routererror': expect.stringMatching(LATE) },
        body: '502 Bad Gateway: Registered endpoint failed to handle the request.\n',
      })
    const over = session(plane.httpsPort)
    expect(await ask(over)).toBe(502)
    expect(await ask(over, '/', { ':method': 'POST', 'content-length': '0' })).toBe(502)
  })

  it('only from the end of the request on: an upload may last longer', async () => {
    const plane = await router({ limits: { responseMs: 600 } })
    const socket = connect(plane.port, '127.0.0.1')
    socket.write(`POST / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 20\r\nConnection: close\r\n\r\n`)
    const closed = untilClosed(socket)
    for (let i = 0; i < 20; i++) {
      await new Promise((resolve) => setTimeout(resolve, 100))
      socket.write('x')
    }
    expect(await closed).toMatch(/^HTTP\/1\.1 200 OK/)
  })

  it.each(['http1', 'http2'] as const)('for a connection is 502 when no other is left (%s)', async (protocol) => {
    const endpoint = { port: 1, hostAddress: await unanswering(), protocol }
    const plane = await router({ limits: { dialMs: 300 }, endpoint })
    const reply = await send(plane.port, HOST)
    expect(reply).toMatchObject({
      status: 502,
      headers: { 'x-cf-routererror': expect.stringMatching(/^endpoint_failure \(dial tcp 127[.\d]+:\d+: i\/o timeout\)$/) },
    })
  })

  /** A port whose queue of connections is full, since its process sleeps: the system answers no further attempt. */
  async function unanswering(): Promise<string> {
    const program = `require('net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, function () {
      console.log(this.address().port)
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
    })`
    const sleeper = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
    closers.push(() => sleeper.kill('SIGKILL'))
    const port = Number(String((await once(sleeper.stdout, 'data'))[0]))
    for (let i = 0; i < 4; i++) {
      const waiting = connect(port, '127.0.0.1')
      waiting.on('error', () => undefined)
      closers.push(() => waiting.destroy())
      if (i < 2) await once(waiting, 'connect')
    }
    return `127.0.0.1:${port}`
  }
})
