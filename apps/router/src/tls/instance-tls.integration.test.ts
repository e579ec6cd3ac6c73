import { createServer, type Server } from 'node:https'
import { createSecureServer } from 'node:http2'
import { createServer as createTcpServer, type AddressInfo, connect as connectTcp } from 'node:net'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import type { RouteEndpoint } from '@bloomery/contracts'
import {
  createAuthority,
  createInstanceKeyAndCsr,
  issueInstanceCertificate,
  issueNodeIdentity,
  issueServerCertificate,
  type CertificateAuthority,
} from '@bloomery/pki'
import { silentLogger } from '@bloomery/telemetry'
import { anEndpoint, aRoute } from '../fake-scheduler.fixture.js'
import { poolKeyOf } from '../forwarding/instance-forwarding.js'
import { bindSocket } from '../holder/listening-sockets.js'
import { Http1DataPlane } from '../http1/http1-data-plane.js'
import { Http2Clients } from '../http2/http2-clients.js'
import { Http2Endpoints } from '../http2/http2-endpoints.js'
import { createPipeline } from '../proxy/pipeline.js'
import { RouteTable } from '../table/route-table.js'
import { TcpRouter } from '../tcp/tcp-router.js'
import { CertificateStore } from './certificate-store.js'
import { InstanceTls } from './instance-tls.js'

let nodes: CertificateAuthority
let instances: CertificateAuthority
let tls: InstanceTls
let front: { certificatePem: string; privateKeyPem: string }
beforeAll(async () => {
  nodes = await createAuthority()
  instances = await createAuthority()
  const identity = await issueNodeIdentity(nodes, { role: 'router', nodeId: 'r1' })
  tls = new InstanceTls({ identity: () => identity, authority: () => instances.certificatePem })
  front = await issueServerCertificate(await createAuthority(), ['app.test'])
})

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

async function identityOf(instanceGuid: string, authority = instances) {
  const { privateKeyPem: key, csrPem } = await createInstanceKeyAndCsr(instanceGuid)
  const cert = await issueInstanceCertificate(authority, csrPem, { instanceGuid, units: [] })
  return { key, cert, ca: nodes.certificatePem, requestCert: true, rejectUnauthorized: true }
}

const portOf = (server: { address(): unknown }): number => (server.address() as AddressInfo).port
async function listening<S extends Server | ReturnType<typeof createSecureServer> | ReturnType<typeof createTcpServer>>(
  server: S,
): Promise<S> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => server.close())
  return server
}

/** What a cell shows for an instance; each answer tells which connection and server name it came by. */
async function aCell(instanceGuid: string, options = identityOf(instanceGuid)): Promise<RouteEndpoint> {
  const sockets = new Map<unknown, number>()
  const server = createServer(await options, (request, response) => {
    if (!sockets.has(request.socket)) sockets.set(request.socket, sockets.size + 1)
    const { servername } = request.socket as TLSSocket & { servername?: string }
    response.end(`${instanceGuid} by ${servername ?? ''} on ${sockets.get(request.socket) ?? 0}`)
  })
  server.on('upgrade', (_request, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
    socket.pipe(socket)
  })
  await listening(server)
  closing.push(() => server.closeAllConnections())
  return byTls(instanceGuid, portOf(server))
}
const byTls = (instanceGuid: string, port: number, more: Partial<RouteEndpoint> = {}): RouteEndpoint =>
  anEndpoint({
    instanceGuid,
    localAddress: '10.255.0.2:8080',
    hostAddress: '127.0.0.1:1',
    tlsAddress: `127.0.0.1:${port}`,
    ...more,
    port: 1,
  })

interface Router {
  readonly table: RouteTable
  readonly port: number
  readonly httpsPort: number
  publish(...endpoints: RouteEndpoint[]): void
  get(headers?: IncomingHttpHeaders): Promise<{ status: number; body: string; error: string | undefined }>
}
async function aRouter(): Promise<Router> {
  const table = new RouteTable()
  const http2Endpoints = new Http2Endpoints(undefined, tls)
  const decide = createPipeline({
    table,
    hosts: new Set(),
    upstreams: [],
    localCells: new Set(),
    isHealthy: () => true,
    http2Endpoints,
  })
  const certificates = new CertificateStore()
  certificates.replace([{ names: ['app.test'], ...front }], () => undefined)
  const deps = { log: silentLogger, record: () => undefined, decide, instanceTls: tls }
  const plane = new Http1DataPlane({ ...deps, findCertificate: (name) => certificates.find(name), http2: new Http2Clients(deps) })
  certificates.onDefault((first) => plane.setDefaultCertificate(first))
  table.onWithdrawn((endpoint) => plane.forget(poolKeyOf(endpoint)))
  const [http, https] = [bindSocket('127.0.0.1', 0, 'A'), bindSocket('127.0.0.1', 0, 'B')]
  await plane.listen({ httpFd: http.fd, httpsFd: https.fd })
  closing.push(
    () => plane.close(50, 0),
    () => http2Endpoints.close(),
  )
  let revision = 0
  return {
    table,
    port: http.port,
    httpsPort: https.port,
    publish: (...endpoints) => table.change([aRoute('app.test', endpoints)], [], { epoch: '1', revision: ++revision }),
    get: (headers = {}) =>
      new Promise((resolve, reject) => {
        const call = httpRequest(
          { port: http.port, host: '127.0.0.1', agent: false, headers: { host: 'app.test', ...headers } },
          (response) => {
            let body = ''
            response.on('data', (chunk: Buffer) => (body += chunk.toString()))
            response.on('end', () =>
              resolve({
                status: response.statusCode ?? 0,
                body,
                error: response.headers['x-cf-routererror'] as string | undefined,
              }),
            )
          },
        )
        call.on('error', reject)
        call.end()
      }),
  }
}

describe('TLS to instances', () => {
  it('reaches the instance by its name, over connections that are kept for it alone', async () => {
    const router = await aRouter()
    router.publish(await aCell('instance-a'))
    expect(await router.get()).toMatchObject({ status: 200, body: 'instance-a by 8080.instance-a on 1' })
    expect(await router.get()).toMatchObject({ status: 200, body: 'instance-a by 8080.instance-a on 1' })
  })

  it('an address that another instance has now is refused with 503, and not asked again for a while', async () => {
    const router = await aRouter()
    router.publish({ ...(await aCell('instance-b')), instanceGuid: 'instance-a' })
    const { status, body, error } = await router.get()
    expect({ status, body }).toEqual({ status: 503, body: '503 Service Unavailable: service unavailable\n' })
    expect(error).toMatch(/^endpoint_failure \(.*certificate is valid for DNS:instance-b, not instance-a\)$/)
    expect(await router.get()).toMatchObject({ status: 503, error: 'no_endpoints' })
  })

  it('a changed identity does not meet connections of the one before', async () => {
    const router = await aRouter()
    const cell = await aCell('instance-a')
    router.publish(cell)
    expect((await router.get()).status).toBe(200)
    router.publish({ ...cell, instanceGuid: 'instance-b' })
    expect((await router.get()).status).toBe(503)
  })

  it('another instance answers in place of one that is not who it should be', async () => {
    const router = await aRouter()
    const [good, bad] = [await aCell('instance-a'), { ...(await aCell('instance-b')), instanceGuid: 'instance-c' }]
    router.publish(bad, good)
    for (let i = 0; i < 4; i++) expect((await router.get()).body).toMatch(/^instance-a /)
    expect(router.table.health.isPruned(bad)).toBe(true)
    // Registered anew it is believed again, until it proves otherwise.
    router.publish(good)
    expect(router.table.health.isPruned(bad)).toBe(false)
  })

  it.each<[string, number, RegExp, () => Promise<RouteEndpoint>]>([
    [
      'a certificate of an unknown authority',
      526,
      /self.signed|issuer|verify/i,
      async () => aCell('instance-a', identityOf('instance-a', await createAuthority())),
    ],
    [
      'something that does not speak TLS',
      525,
      /wrong version|packet length|EPROTO|SSL/i,
      async () => {
        const server = await listening(createTcpServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')))
        return byTls('instance-a', portOf(server))
      },
    ],
    ['a cell that is away', 502, /connection refused/, () => Promise.resolve(byTls('instance-a', 1))],
  ])('%s is answered with its own status', async (_case, status, reason, endpoint) => {
    const router = await aRouter()
    router.publish(await endpoint())
    const answer = await router.get()
    expect({ status: answer.status, error: answer.error }).toEqual({ status, error: expect.stringMatching(reason) })
    expect(answer.error).toMatch(/^endpoint_failure \(/)
    expect(await router.get()).toMatchObject({ status: 503, error: 'no_endpoints' })
  })

  it('carries WebSockets, clients of HTTP/2, instances of HTTP/2 and TCP routes as well', async () => {
    const router = await aRouter()
    router.publish(await aCell('instance-a'))
    const echoed = await new Promise<string>((resolve) => {
      const socket = connectTcp(router.port, '127.0.0.1')
      let text = ''
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString()
        if (text.endsWith('\r\n\r\n')) socket.write('ping')
        if (text.endsWith('ping')) socket.destroy()
      })
      socket.on('close', () => resolve(text))
      socket.write('GET / HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
    })
    expect(echoed).toMatch(/^HTTP\/1\.1 101 [^]*ping$/)

    const byHttp2 = (): Promise<string> =>
      new Promise((resolve, reject) => {
        const session = connectHttp2(`https://127.0.0.1:${router.httpsPort}`, {
          servername: 'app.test',
          rejectUnauthorized: false,
        })
        session.on('error', reject)
        const stream = session.request({ ':path': '/', ':authority': 'app.test' })
        let text = ''
        stream.on('data', (chunk: Buffer) => (text += chunk.toString()))
        stream.on('end', () => {
          session.close()
          resolve(text)
        })
        stream.end()
      })
    expect(await byHttp2()).toMatch(/^instance-a by 8080\.instance-a/)

    const grpc = createSecureServer(await identityOf('instance-h'), (_request, response) => response.end('by HTTP/2'))
    await listening(grpc)
    router.publish(byTls('instance-h', portOf(grpc), { protocol: 'http2' }))
    expect((await router.get()).body).toBe('by HTTP/2')

    const echo = createTlsServer(await identityOf('instance-t'), (socket) => void socket.pipe(socket))
    await listening(echo)
    const listener = bindSocket('127.0.0.1', 0, 'T')
    router.table.change(
      [aRoute('tcp.test', [byTls('instance-t', portOf(echo), { protocol: 'tcp' })], { protocol: 'tcp', port: listener.port })],
      [],
      { epoch: '1', revision: 99 },
    )
    const tcp = new TcpRouter({ table: router.table, localCells: new Set(), instanceTls: tls, log: silentLogger })
    await tcp.listen([{ port: listener.port, fd: listener.fd }])
    closing.push(() => tcp.close(50))
    const heard = await new Promise<string>((resolve) => {
      const socket = connectTcp({ port: listener.port, host: '127.0.0.1', allowHalfOpen: true })
      let text = ''
      socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
      socket.on('end', () => resolve(text))
      socket.end('over TCP')
    })
    expect(heard).toBe('over TCP')
  })
})
