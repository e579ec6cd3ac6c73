import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { createAuthority, issueServerCertificate } from '@bloomery/pki'
import { silentLogger } from '@bloomery/telemetry'
import { anEndpoint, aRoute } from '../fake-scheduler.fixture.js'
import { bindSocket, type BoundSocket } from '../holder/listening-sockets.js'
import { RouteTable } from '../table/route-table.js'
import { TcpRouter } from './tcp-router.js'

let table: RouteTable
let router: TcpRouter
let sockets: BoundSocket[]
let servers: Server[]
let revision: number
beforeEach(async () => {
  revision = 0
  servers = []
  table = new RouteTable()
  router = new TcpRouter({ table, localCells: new Set(), log: silentLogger })
  sockets = [bindSocket('127.0.0.1', 0, 'A'), bindSocket('127.0.0.1', 0, 'B')]
  await router.listen(sockets)
})
afterEach(async () => {
  await router.close(50)
  for (const server of servers) server.close()
})
const port = (i = 0): number => sockets[i]?.port ?? 0
const listen = async (server: Server): Promise<number> => {
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}
/** Answers each line with its own name before it. */
const echo = (name: string): Promise<number> =>
  listen(
    createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => socket.destroy())
      socket.on('data', (chunk: Buffer) => socket.write(`${name}:${chunk.toString()}`))
      socket.on('end', () => socket.end(`${name}:bye`))
    }),
  )
const route = (at: number, ports: number[], more: { guid?: string; host?: string; options?: Record<string, string> } = {}) => ({
  ...aRoute(
    more.host ?? 'tcp.test',
    ports.map((each) => anEndpoint({ port: each })),
    { protocol: 'tcp', port: at, options: more.options ?? {} },
  ),
  routeGuid: more.guid ?? `route-${at}`,
})
const publish = (...routes: ReturnType<typeof route>[]): void => table.snapshot(routes, { epoch: '1', revision: ++revision })
const client = async (at: number): Promise<Socket> => {
  const socket = connect(at, '127.0.0.1')
  socket.on('error', () => socket.destroy())
  await once(socket, 'connect')
  return socket
}
/** A connection that ends by itself, one way or another. */
const ending = (at: number): Promise<void> =>
  new Promise((resolve) => {
    const socket = connect(at, '127.0.0.1')
    socket.on('error', () => socket.destroy())
    socket.once('close', () => resolve())
  })
const ask = async (socket: Socket, text: string): Promise<string> => {
  socket.write(text)
  const [answer] = (await once(socket, 'data')) as [Buffer]
  return answer.toString()
}
const read = async (socket: Socket): Promise<string> => {
  let text = ''
  for await (const chunk of socket) text += (chunk as Buffer).toString()
  return text
}

describe('TCP routes', () => {
  it('come and go while connections stay', async () => {
    const [one, two] = [await echo('one'), await echo('two')]
    publish(route(port(), [one]))
    const first = await client(port())
    expect(await ask(first, 'a')).toBe('one:a')
    publish(route(port(), [two]), route(port(1), [one]))
    expect(await ask(first, 'b')).toBe('one:b')
    expect(await ask(await client(port()), 'c')).toBe('two:c')
    expect(await ask(await client(port(1)), 'd')).toBe('one:d')
    publish()
    expect(await ask(first, 'e')).toBe('one:e')
    await ending(port())
    publish(route(port(), [one]))
    expect(await ask(await client(port()), 'f')).toBe('one:f')
  })

  it('pass on an end of one side, and megabytes whole', async () => {
    const size = 8 * 1024 * 1024
    const sink = await listen(
      createServer({ allowHalfOpen: true }, (socket) => {
        let seen = 0
        socket.on('data', (chunk: Buffer) => (seen += chunk.length))
        socket.on('end', () => socket.end(String(seen)))
      }),
    )
    publish(route(port(), [sink]))
    const socket = connect({ port: port(), host: '127.0.0.1', allowHalfOpen: true })
    socket.end(Buffer.alloc(size))
    expect(await read(socket)).toBe(String(size))
  })

  it('try another instance when one refuses, and reset the client when all do', async () => {
    const alive = await echo('alive')
    const dead = bindSocket('127.0.0.1', 0, 'X')
    publish(route(port(), [dead.port, alive]), route(port(1), [dead.port]))
    for (let i = 0; i < 4; i++) expect(await ask(await client(port()), 'x')).toBe('alive:x')
    await ending(port(1))
    dead.close()
  })

  it('spread over instances, by turns or to the least busy', async () => {
    const ports = [await echo('a'), await echo('b')]
    publish(route(port(), ports, { options: { loadbalancing: 'least-connection' } }))
    const seen: string[] = []
    for (let i = 0; i < 4; i++) seen.push((await ask(await client(port()), 'x')).slice(0, 1))
    expect(seen.sort().join('')).toBe('aabb')
  })

  it('go by the server name where a port has several, and by the rest where none is told', async () => {
    const authority = await createAuthority({ name: 'test' })
    const secure = async (name: string): Promise<number> => {
      const { certificatePem, privateKeyPem } = await issueServerCertificate(authority, [`${name}.tcp.test`])
      return listen(
        createTlsServer({ cert: certificatePem, key: privateKeyPem }, (socket) => {
          socket.on('error', () => socket.destroy())
          socket.end(name)
        }),
      )
    }
    const [db, cache, plain] = [await secure('db'), await secure('cache'), await echo('plain')]
    publish(
      route(port(), [db], { guid: 'a', host: 'db.tcp.test', options: { sni: 'true' } }),
      route(port(), [cache], { guid: 'b', host: 'cache.tcp.test', options: { sni: 'true' } }),
      route(port(), [plain], { guid: 'c' }),
    )
    const over = async (servername: string): Promise<string> => {
      const socket = connectTls({ port: port(), host: '127.0.0.1', servername, rejectUnauthorized: false })
      return read(socket)
    }
    expect(await over('db.tcp.test')).toBe('db')
    expect(await over('CACHE.tcp.test')).toBe('cache')
    expect(await ask(await client(port()), 'hello')).toBe('plain:hello')
    const ended = connect({ port: port(), host: '127.0.0.1', allowHalfOpen: true })
    ended.end()
    expect(await read(ended)).toBe('plain:bye')
  })

  it('end with the router, those that outlast the timeout too', async () => {
    publish(route(port(), [await echo('a')]))
    const socket = await client(port())
    expect(await ask(socket, 'x')).toBe('a:x')
    expect(router.open).toBe(1)
    const closed = new Promise((resolve) => socket.once('close', resolve))
    await router.close(50)
    await closed
    await new Promise(setImmediate)
    expect(router.open).toBe(0)
  })
})
