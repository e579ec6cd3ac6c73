import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { createAuthority, issueServerCertificate } from '@bloomery/pki'
import { WebSocket, WebSocketServer, type RawData } from 'ws'
import { anEndpoint, aRoute } from '../fake-scheduler.fixture.js'
import { startPlane, type TestPlane } from './data-plane.fixture.js'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})
let ca: string
let certificate: { names: string[]; certificatePem: string; privateKeyPem: string }
beforeAll(async () => {
  const authority = await createAuthority({ name: 'test' })
  ca = authority.certificatePem
  certificate = { names: ['app.test'], ...(await issueServerCertificate(authority, ['app.test'])) }
})

async function routerTo(port: number): Promise<TestPlane> {
  const plane = await startPlane({ certificate })
  closers.push(plane.close)
  plane.table.change([aRoute('app.test', [anEndpoint({ port })])], [], { epoch: '1', revision: 1 })
  return plane
}
/** Sends each message back as it is. */
async function echo(): Promise<{ port: number; server: WebSocketServer }> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', skipUTF8Validation: true, perMessageDeflate: true })
  await once(server, 'listening')
  server.on('connection', (socket) => socket.on('message', (data, binary) => socket.send(data, { binary, compress: false })))
  closers.push(() => {
    for (const client of server.clients) client.terminate()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, server }
}
async function dial(plane: TestPlane, secure: boolean): Promise<WebSocket> {
  const socket = new WebSocket(`${secure ? 'wss' : 'ws'}://127.0.0.1:${secure ? plane.httpsPort : plane.port}/`, {
    headers: { host: 'app.test' },
    ca,
    ...{ servername: 'app.test' },
    skipUTF8Validation: true,
  })
  closers.push(() => socket.terminate())
  await once(socket, 'open')
  return socket
}
async function reply(socket: WebSocket): Promise<{ bytes: Buffer; binary: boolean }> {
  const [data, binary] = (await once(socket, 'message')) as [RawData, boolean]
  return { bytes: Buffer.isBuffer(data) ? data : Buffer.alloc(0), binary }
}

describe.each([false, true])('a WebSocket, over TLS: %s', (secure) => {
  it('carries messages of every size that has a form of its own, text and binary', async () => {
    const socket = await dial(await routerTo((await echo()).port), secure)
    for (const size of [0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537, 1_000_000]) {
      for (const binary of [false, true]) {
        const bytes = binary ? randomBytes(size) : Buffer.alloc(size, 'ä', 'latin1').fill('x')
        socket.send(bytes, { binary })
        const got = await reply(socket)
        expect([got.binary, got.bytes.equals(bytes)]).toEqual([binary, true])
      }
    }
  })

  it('carries fragments, with pings between them, and answers of the other side’s', async () => {
    const socket = await dial(await routerTo((await echo()).port), secure)
    const pongs: string[] = []
    socket.on('pong', (data) => pongs.push(data.toString()))
    for (const part of ['fra', 'gmen', '', 'ted']) {
      socket.send(part, { fin: false })
      socket.ping(`at ${part}`)
    }
    socket.send('!', { fin: true })
    expect((await reply(socket)).bytes.toString()).toBe('fragmented!')
    socket.ping(randomBytes(125))
    while (pongs.length < 5) await once(socket, 'pong')
    expect(pongs.slice(0, 4)).toEqual(['at fra', 'at gmen', 'at ', 'at ted'])
  })

  it('carries what is no UTF-8 untouched, and ten megabytes in pieces', async () => {
    const socket = await dial(await routerTo((await echo()).port), secure)
    const invalid = Buffer.from([0xce, 0xba, 0xed, 0xa0, 0x80, 0xff, 0xfe, 0xf8, 0x88])
    socket.send(invalid, { binary: false })
    expect(await reply(socket)).toEqual({ bytes: invalid, binary: false })
    const hash = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
    const parts = Array.from({ length: 160 }, () => randomBytes(65_536))
    for (const [i, part] of parts.entries()) socket.send(part, { fin: i === parts.length - 1, binary: true, compress: false })
    expect(hash((await reply(socket)).bytes)).toBe(hash(Buffer.concat(parts)))
  })

  it.each([1000, 1001, 1002, 1003, 1007, 1008, 1011, 3000, 4999])('ends with the code %i in both directions', async (code) => {
    const { port, server } = await echo()
    const plane = await routerTo(port)
    const socket = await dial(plane, secure)
    const atInstance = once([...server.clients][0]!, 'close')
    socket.close(code, 'because')
    expect(await once(socket, 'close')).toEqual([code, Buffer.from('because')])
    expect(await atInstance).toEqual([code, Buffer.from('because')])
    const second = await dial(plane, secure)
    ;[...server.clients][0]!.close(code, 'enough')
    expect(await once(second, 'close')).toEqual([code, Buffer.from('enough')])
  })

  it('carries a thousand messages each way at once, in order', async () => {
    const socket = await dial(await routerTo((await echo()).port), secure)
    const seen: string[] = []
    socket.on('message', (data: Buffer) => seen.push(data.toString()))
    for (let i = 0; i < 1_000; i++) socket.send(String(i))
    while (seen.length < 1_000) await once(socket, 'message')
    expect(seen).toEqual(Array.from({ length: 1_000 }, (_, i) => String(i)))
  })
})

describe('the bytes of a switched connection', () => {
  const HANDSHAKE =
    'GET / HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
  const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'

  /** An instance on a bare socket, told of each chunk. */
  async function bare(onData: (socket: Socket, all: string) => void): Promise<TestPlane> {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      closers.push(() => socket.destroy())
      let all = ''
      socket.on('error', () => undefined)
      socket.on('data', (chunk: Buffer) => onData(socket, (all += chunk.toString('latin1'))))
      socket.on('end', () => onData(socket, `${all}<end>`))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    closers.push(() => server.close())
    return routerTo((server.address() as AddressInfo).port)
  }
  async function talk(plane: TestPlane, act: (socket: Socket, seen: () => string) => void, secure = false): Promise<string> {
    const socket: Socket = secure
      ? connectTls({ port: plane.httpsPort, host: '127.0.0.1', ca, servername: 'app.test', allowHalfOpen: true } as object)
      : connect({ port: plane.port, host: '127.0.0.1', allowHalfOpen: true })
    closers.push(() => socket.destroy())
    let text = ''
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
    socket.on('error', () => undefined)
    act(socket, () => text)
    await Promise.race([once(socket, 'end'), once(socket, 'close')])
    return text
  }
  const afterHead = (text: string): string => text.slice(text.indexOf('\r\n\r\n') + 4)

  it.each([false, true])('right behind the 101 arrive (TLS: %s)', async (secure) => {
    const plane = await bare((socket, all) => {
      if (all.endsWith('\r\n\r\n')) socket.end(`${SWITCH}at once`)
    })
    expect(afterHead(await talk(plane, (socket) => socket.write(HANDSHAKE), secure))).toBe('at once')
  })

  it.each([false, true])('right behind the request’s head arrive, but only after the switch (TLS: %s)', async (secure) => {
    let early = ''
    const plane = await bare((socket, all) => {
      const rest = afterHead(all)
      if (!socket.bytesWritten) {
        early = rest
        setTimeout(() => socket.write(SWITCH), 50)
      } else if (rest === 'eager') socket.end('got eager')
    })
    expect(afterHead(await talk(plane, (socket) => socket.write(`${HANDSHAKE}eager`), secure))).toBe('got eager')
    expect(early).toBe('')
  })

  it.each([false, true])('go on in one direction when the other has ended (TLS: %s)', async (secure) => {
    const plane = await bare((socket, all) => {
      if (all.endsWith('\r\n\r\n')) socket.write(SWITCH)
      // The client has ended its side; what is said after that still reaches it.
      if (all.endsWith('<end>')) setTimeout(() => socket.end('last words'), 100)
    })
    const text = await talk(
      plane,
      (socket, seen) => {
        socket.write(HANDSHAKE)
        socket.on('data', () => {
          if (seen().endsWith('\r\n\r\n')) socket.end('bye')
        })
      },
      secure,
    )
    expect(afterHead(text)).toBe('last words')
  })

  it('are none where the instance refuses: what was sent ahead reaches nobody, and the connection ends', async () => {
    let seen = ''
    const plane = await bare((socket, all) => {
      seen = all
      if (all.endsWith('\r\n\r\n')) socket.write('HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno')
    })
    const text = await talk(plane, (socket) => socket.write(`${HANDSHAKE}GET /hidden HTTP/1.1\r\nHost: app.test\r\n\r\n`))
    expect(text).toMatch(/^HTTP\/1\.1 426 Upgrade Required\r\n[^]*Connection: close\r\n\r\nno$/)
    expect(seen).not.toContain('hidden')
  })

  it('are held back when one side does not read', async () => {
    let written = 0
    const plane = await bare((socket, all) => {
      if (!all.endsWith('\r\n\r\n')) return
      socket.write(SWITCH)
      const push = (): void => {
        while (written < 512 * 1024 * 1024) {
          written += 65_536
          if (!socket.write(Buffer.alloc(65_536))) return void socket.once('drain', push)
        }
      }
      push()
    })
    const socket = connect(plane.port, '127.0.0.1')
    closers.push(() => socket.destroy())
    socket.write(HANDSHAKE)
    await once(socket, 'readable')
    let before = -1
    while (before !== written) {
      before = written
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    expect(written).toBeLessThan(64 * 1024 * 1024)
  })
})
