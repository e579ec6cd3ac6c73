import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, it } from '@jest/globals'
import { WebSocket, WebSocketServer } from 'ws'
import { anEndpoint, aRoute } from '../fake-scheduler.fixture.js'
import { sendRaw, startBackend, startPlane, type TestPlane } from './data-plane.fixture.js'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})
const AT = { epoch: '1', revision: 1 }

async function router(...ports: number[]): Promise<TestPlane> {
  const plane = await startPlane()
  closers.push(plane.close)
  plane.table.change(
    [
      aRoute(
        'app.test',
        ports.map((port) => anEndpoint({ port })),
      ),
    ],
    [],
    AT,
  )
  return plane
}
async function echoServer(): Promise<{ port: number; server: WebSocketServer }> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  await once(server, 'listening')
  server.on('connection', (socket, message) => {
    socket.send(`hello ${String(message.headers['x-cf-instanceindex'])}`)
    socket.on('message', (data, binary) => socket.send(data, { binary }))
  })
  closers.push(async () => {
    for (const client of server.clients) client.terminate()
    await new Promise((resolve) => server.close(resolve))
  })
  return { port: (server.address() as AddressInfo).port, server }
}
const dial = (port: number): WebSocket => new WebSocket(`ws://127.0.0.1:${port}/socket`, { headers: { host: 'app.test' } })

describe('WebSocket', () => {
  it('passes messages both ways, large ones too, and the close with its code', async () => {
    const backend = await echoServer()
    const { port, lines } = await router(backend.port)
    const socket = dial(port)
    expect(String((await once(socket, 'message'))[0])).toBe('hello 0')
    const large = Buffer.alloc(3 * 1024 * 1024, 7)
    socket.send(large)
    expect(((await once(socket, 'message'))[0] as Buffer).equals(large)).toBe(true)
    for (const client of backend.server.clients) client.close(4321, 'enough')
    expect((await once(socket, 'close'))[0]).toBe(4321)
    for (let i = 0; i < 200 && lines.length === 0; i++) await delay(10)
    expect(lines[0]?.text).toContain('"GET /socket HTTP/1.1" 101 ')
  })

  it('goes to another instance when the first is dead', async () => {
    const backend = await echoServer()
    const dead = await startBackend(() => undefined)
    await dead.close()
    const { port } = await router(dead.port, backend.port)
    for (let i = 0; i < 3; i++) {
      const socket = dial(port)
      await once(socket, 'message')
      socket.terminate()
    }
  })

  it('ends on the other side when one side is gone', async () => {
    const backend = await echoServer()
    const { port } = await router(backend.port)
    const socket = dial(port)
    await once(socket, 'open')
    const [client] = [...backend.server.clients]
    socket.terminate()
    await once(client!, 'close')
    const second = dial(port)
    await once(second, 'message')
    for (const each of backend.server.clients) each.terminate()
    await once(second, 'close')
  })

  it('shows the instance’s refusal', async () => {
    const backend = await startBackend((_request, response) => response.writeHead(403).end('no'))
    closers.push(backend.close)
    const { port } = await router(backend.port)
    const [, response] = (await once(dial(port), 'unexpected-response')) as [unknown, { statusCode: number }]
    expect(response.statusCode).toBe(403)
  })

  it('gets the router’s own answers like any request', async () => {
    const { port } = await router()
    const handshake =
      'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
    const { text, closed } = await sendRaw(port, `GET / HTTP/1.1\r\nHost: nobody.test\r\n${handshake}`)
    expect(text).toMatch(/^HTTP\/1\.1 404 Not Found\r\n[^]*X-Cf-RouterError: unknown_route/)
    expect(closed).toBe(true)
  })

  it('is ended by a drain that ran out of time', async () => {
    const backend = await echoServer()
    const { port, plane } = await router(backend.port)
    const socket = dial(port)
    await once(socket, 'message')
    const closed = once(socket, 'close')
    await plane.close(100, 0)
    await closed
  })
})

describe('an offer of another protocol', () => {
  it.each([
    ['without a body', '', '0 -'],
    ['with a body', 'Content-Length: 2\r\n', '2 -'],
  ])('is served as if it had not been made, %s', async (_name, framing, expected) => {
    const backend = await startBackend((message, response) => {
      let bytes = 0
      message.on('data', (chunk: Buffer) => (bytes += chunk.length))
      message.once('end', () => response.end(`${bytes} ${message.headers.upgrade ?? '-'}`))
    })
    closers.push(backend.close)
    const { port } = await router(backend.port)
    const offer = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n'
    const body = framing ? 'hi' : ''
    const { text } = await sendRaw(port, `POST / HTTP/1.1\r\nHost: app.test\r\n${offer}${framing}\r\n${body}`)
    expect(text).toMatch(/^HTTP\/1\.1 200 OK/)
    expect(text).toContain(expected)
    expect(text).not.toContain('101')
  })

  it('does not loosen the reading of what follows', async () => {
    const { port } = await router()
    const socket = connect(port, '127.0.0.1')
    socket.write(
      'POST / HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhiGARBAGE\r\n\r\n',
    )
    let text = ''
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
    await once(socket, 'close')
    expect(text).toMatch(/^HTTP\/1\.1 404 [^]*HTTP\/1\.1 400 Bad Request/)
  })
})
