import { once } from 'node:events'
import { Agent, request, type IncomingMessage } from 'node:http'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { eventually } from '@bloomery/testing'
import { afterEach, describe, expect, it } from '@jest/globals'
import { anEndpoint, aRoute } from '../fake-scheduler.fixture.js'
import { send, sendRaw, startBackend, startPlane, type TestPlane } from '../proxy/data-plane.fixture.js'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})
const HOST = 'app.test'

async function routerTo(...ports: number[]): Promise<TestPlane> {
  const router = await startPlane()
  closers.push(router.close)
  const endpoints = ports.map((port, index) => anEndpoint({ port, index }))
  router.table.change([aRoute(HOST, endpoints)], [], { epoch: '1', revision: 1 })
  return router
}

/** An endpoint on a bare socket, given each chunk as it comes. */
async function bareEndpoint(onData: (socket: Socket, chunk: Buffer) => void): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => socket.destroy())
    socket.on('data', (chunk: Buffer) => onData(socket, chunk))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closers.push(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  return (server.address() as AddressInfo).port
}
const saying = (bytes: string): Promise<number> => bareEndpoint((socket) => void socket.write(bytes, 'latin1'))
const GET = `GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`

describe('an answer that others might read differently', () => {
  it.each([
    [
      'Content-Length and Transfer-Encoding',
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok'],
    ['a list of lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok'],
    ['a length with a sign', 'HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok'],
    ['an unknown coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\nok'],
    ['chunked not last', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n'],
    ['Transfer-Encoding in HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['bare LF', 'HTTP/1.1 200 OK\nContent-Length: 2\n\nok'],
    ['a continued line', 'HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nContent-Length: 2\r\n\r\nok'],
    ['a space before the colon', 'HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok'],
    ['a bare CR in a value', 'HTTP/1.1 200 OK\r\nX-A: a\rb\r\nContent-Length: 2\r\n\r\nok'],
    ['NUL in a value', 'HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 2\r\n\r\nok'],
    ['HTTP/2.0', 'HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok'],
    ['no HTTP at all', 'SSH-2.0-OpenSSH\r\n'],
    ['a switch that nobody asked for', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n'],
    ['a head beyond 1 MiB', `HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(1_200_000)}\r\n\r\n`],
  ])('%s is 502', async (_name, bytes) => {
    const router = await routerTo(await saying(bytes))
    const { text } = await sendRaw(router.port, GET.replace('Host:', 'Connection: close\r\nHost:'), 2_000)
    expect(text).toMatch(/^HTTP\/1\.1 502 Bad Gateway\r\n[^]*X-Cf-RouterError: endpoint_failure \(/)
    expect(text).not.toContain('ok')
  })

  it('with broken chunks is cut off', async () => {
    const router = await routerTo(await saying('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokXX0\r\n\r\n'))
    await expect(send(router.port, HOST)).rejects.toThrow()
  })

  it('with bytes beyond its end gives them to nobody', async () => {
    const router = await routerTo(
      await saying('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil'),
    )
    const { text } = await sendRaw(router.port, GET + GET)
    expect([...text.matchAll(/ok|evil/g)].map(String)).toEqual(['ok', 'ok'])
  })
})

describe('bodies', () => {
  it('are answered early: the refusal of a large upload always arrives', async () => {
    const answered = new WeakSet<Socket>()
    const port = await bareEndpoint((socket) => {
      if (answered.has(socket)) return
      answered.add(socket)
      // With most of the body unread the system resets the connection.
      socket.end('HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig', () => socket.destroy())
    })
    const router = await routerTo(port)
    const upload = (): Promise<string> =>
      new Promise((resolve, reject) => {
        const call = request({
          host: '127.0.0.1',
          port: router.port,
          method: 'POST',
          agent: false,
          headers: { host: HOST, 'content-length': 50_000_000 },
        })
        const chunk = Buffer.alloc(65_536)
        const push = (): void => {
          while (!call.destroyed && call.write(chunk));
          call.once('drain', push)
        }
        call.on('error', reject)
        call.once('response', (response) => {
          let body = ''
          response.on('data', (part: Buffer) => (body += part.toString()))
          response.once('end', () => {
            resolve(`${response.statusCode} ${body}`)
            call.destroy()
          })
        })
        push()
      })
    for (let i = 0; i < 20; i++) expect(await upload()).toBe('413 big')
  })

  it('pass with flat memory, 100 MB each way at once', async () => {
    const size = 100 * 1024 * 1024
    const backend = await startBackend((message, response) => {
      response.writeHead(200, { 'content-length': size })
      message.pipe(response)
    })
    closers.push(backend.close)
    const router = await routerTo(backend.port)
    const call = request({
      host: '127.0.0.1',
      port: router.port,
      method: 'POST',
      agent: false,
      headers: { host: HOST, 'content-length': size },
    })
    const chunk = Buffer.alloc(1024 * 1024)
    let sent = 0
    const push = (): void => {
      while (sent < size) {
        sent += chunk.length
        if (!call.write(chunk)) return void call.once('drain', push)
      }
      call.end()
    }
    push()
    const [response] = (await once(call, 'response')) as [IncomingMessage]
    let received = 0
    let highest = 0
    const before = process.memoryUsage.rss()
    for await (const part of response) {
      received += (part as Buffer).length
      highest = Math.max(highest, process.memoryUsage.rss())
    }
    expect(received).toBe(size)
    expect((highest - before) / 1024 / 1024).toBeLessThan(80)
  }, 60_000)

  it('of unknown length end with the connection for HTTP/1.0, and are chunked for HTTP/1.1', async () => {
    const port = await bareEndpoint((socket) => socket.end('HTTP/1.0 200 OK\r\n\r\nhello'))
    const router = await routerTo(port)
    const old = await sendRaw(router.port, `GET / HTTP/1.0\r\nHost: ${HOST}\r\n\r\n`)
    expect(old.text).toMatch(/Connection: close\r\n\r\nhello$/)
    expect(old.closed).toBe(true)
    expect((await sendRaw(router.port, GET)).text).toMatch(/Transfer-Encoding: chunked\r\n[^]*\r\n\r\n5\r\nhello\r\n0\r\n\r\n$/)
  })
})

describe('clients', () => {
  it('that have ended their side get the answer', async () => {
    const backend = await startBackend((_message, response) => void setTimeout(() => response.end('late'), 300))
    closers.push(backend.close)
    const router = await routerTo(backend.port)
    const socket = connect({ port: router.port, host: '127.0.0.1', allowHalfOpen: true })
    socket.end(GET)
    let text = ''
    for await (const chunk of socket) text += String(chunk)
    expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*late$/)
  })

  it('that ask for the end of the connection get the whole answer and then that, without ending their own side', async () => {
    const body = 'x'.repeat(4 * 1024 * 1024)
    const backend = await startBackend((_message, response) => void response.end(body))
    closers.push(backend.close)
    const router = await routerTo(backend.port)
    const socket = connect({ port: router.port, host: '127.0.0.1', allowHalfOpen: true })
    const failed = once(socket, 'error') as Promise<[NodeJS.ErrnoException]>
    socket.write(GET.replace('Host:', 'Connection: close\r\nHost:'))
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      // As slow a reader as makes the router wait for it.
      socket.pause()
      setImmediate(() => socket.resume())
    })
    await once(socket, 'end')
    expect(text.slice(text.indexOf('\r\n\r\n') + 4) === body).toBe(true)
    // Nobody is left to read it.
    const more = (): void => void (socket.destroyed || socket.write('GET', () => setImmediate(more)))
    more()
    const [error] = await failed
    expect(['EPIPE', 'ECONNRESET']).toContain(error.code)
  })

  it('are told of what comes before the answer', async () => {
    const router = await routerTo(
      await saying('HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'),
    )
    const { text } = await sendRaw(router.port, GET)
    expect(text).toMatch(/^HTTP\/1\.1 103 Early Hints\r\nLink: <\/a.css>\r\n\r\nHTTP\/1\.1 200 OK\r\n[^]*ok$/)
  })

  it('keep a connection of HTTP/1.0 when they ask for it', async () => {
    const router = await routerTo(await saying('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'))
    const ask = `GET / HTTP/1.0\r\nHost: ${HOST}\r\nConnection: keep-alive\r\n\r\n`
    const { text } = await sendRaw(router.port, ask + ask)
    expect(text.match(/Connection: keep-alive\r\n\r\nok/g)).toHaveLength(2)
  })

  it('may switch to any protocol that is not another form of HTTP', async () => {
    const port = await bareEndpoint((socket, chunk) => {
      if (chunk.includes('HTTP/1.1'))
        socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat/2\r\n\r\nhi ')
      else socket.end(`you said ${chunk.toString()}`)
    })
    const router = await routerTo(port)
    const socket = connect(router.port, '127.0.0.1')
    socket.write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\nConnection: Upgrade\r\nUpgrade: chat/2\r\n\r\n`)
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      if (text === '') socket.write('hello')
      text += chunk.toString()
    })
    await once(socket, 'end')
    expect(text).toMatch(/^HTTP\/1\.1 101 [^]*\r\n\r\nhi you said hello$/)
  })
})

describe('an instance that is killed under load', () => {
  /** Requests one after another in several lanes until stopped; what came of each. */
  function load(port: number, path: string): { readonly seen: readonly string[]; stop(): Promise<string[]> } {
    const agent = new Agent({ keepAlive: true })
    const seen: string[] = []
    let running = true
    const lanes = Array.from({ length: 10 }, async () => {
      while (running) {
        const reply = await send(port, HOST, { agent, path }).catch(() => ({ status: 0, body: 'cut off' }))
        seen.push(`${reply.status} ${reply.body}`)
      }
    })
    return {
      seen,
      stop: async () => {
        running = false
        await Promise.all(lanes)
        agent.destroy()
        return seen
      },
    }
  }

  it('while it is idle costs no request', async () => {
    const backends = await Promise.all(['one', 'two'].map((name) => startBackend((_message, response) => response.end(name))))
    const router = await routerTo(...backends.map(({ port }) => port))
    const running = load(router.port, '/')
    await eventually(() => new Set(running.seen).size === 2)
    // Between two requests: what is kept open breaks, what comes is refused.
    backends[0]!.server.close()
    backends[0]!.server.closeIdleConnections()
    const sofar = running.seen.length
    await eventually(() => running.seen.slice(sofar + 30).at(-1) === '200 two')
    const seen = await running.stop()
    await backends[0]!.close()
    await backends[1]!.close()
    expect(new Set(seen)).toEqual(new Set(['200 one', '200 two']))
    expect(seen.at(-1)).toBe('200 two')
  })

  it('in the middle of answers breaks those, and no other', async () => {
    let halves = 0
    const half = await startBackend((_message, response) => {
      halves++
      response.writeHead(200, { 'content-length': 10 })
      response.write('half')
    })
    const whole = await startBackend((_message, response) => response.end('whole'))
    const router = await routerTo(half.port, whole.port)
    const running = load(router.port, '/')
    await eventually(() => halves > 3)
    await half.close()
    const sofar = running.seen.length
    await eventually(() => running.seen.slice(sofar + 30).at(-1) === '200 whole')
    const seen = await running.stop()
    await whole.close()
    const broken = seen.filter((each) => each !== '200 whole')
    expect(broken.length).toBeGreaterThan(0)
    expect(broken.length).toBeLessThanOrEqual(10)
    // An answer that had begun is cut off; a request that was taken and not answered yet is told so.
    for (const each of broken) expect(each).toMatch(/^(0 cut off|502 )/)
    expect(seen.at(-1)).toBe('200 whole')
  })
})
