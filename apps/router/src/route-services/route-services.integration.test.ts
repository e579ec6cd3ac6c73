import { randomBytes } from 'node:crypto'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { parseAllowedDestination } from '@bloomery/domain'
import { createAuthority, issueServerCertificate } from '@bloomery/pki'
import { silentLogger } from '@bloomery/telemetry'
import { anEndpoint, aRoute } from '../fake-scheduler.fixture.js'
import { bindSocket } from '../holder/listening-sockets.js'
import { NodeDataPlane } from '../plain/node-data-plane.js'
import { send, startBackend } from '../proxy/data-plane.fixture.js'
import { createPipeline } from '../proxy/pipeline.js'
import { RouteTable } from '../table/route-table.js'
import { ServiceCalls } from './service-calls.js'

const keys = [1, 2].map((guid) => ({ guid: String(guid), key: randomBytes(32).toString('base64') }))
let authority: Awaited<ReturnType<typeof createAuthority>>
let certificate: Awaited<ReturnType<typeof issueServerCertificate>>
beforeAll(async () => {
  authority = await createAuthority({ name: 'test' })
  certificate = await issueServerCertificate(authority, ['127.0.0.1'])
})

let table: RouteTable
let plane: NodeDataPlane
let port: number
let now: Date
let signing: typeof keys
let serve: RequestListener
let service: TlsServer
let servicePort: number
let calls: ServiceCalls
let backend: Awaited<ReturnType<typeof startBackend>>
let atInstance: IncomingMessage[]
let atService: IncomingMessage[]

beforeEach(async () => {
  now = new Date()
  signing = keys
  atInstance = []
  atService = []
  service = createTlsServer({ cert: certificate.certificatePem, key: certificate.privateKeyPem }, (request, response) => {
    atService.push(request)
    serve(request, response)
  })
  await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve))
  servicePort = (service.address() as AddressInfo).port
  backend = await startBackend((request, response) => {
    atInstance.push(request)
    request.pipe(response)
  })
  const allowed = parseAllowedDestination(`127.0.0.1:${servicePort}`)
  calls = new ServiceCalls({ allowed: allowed ? [allowed] : [], own: [] }, authority.certificatePem)
  table = new RouteTable()
  plane = new NodeDataPlane({
    log: silentLogger,
    findCertificate: () => undefined,
    record: () => undefined,
    decide: createPipeline({
      table,
      hosts: new Set(),
      upstreams: [],
      localCells: new Set(),
      isHealthy: () => true,
      routeServices: {
        keys: () => signing,
        toService: (url, how) => calls.to(url, how),
        recommendHttps: false,
        validMs: 60_000,
        now: () => now,
      },
    }),
  })
  const http = bindSocket('127.0.0.1', 0, 'HTTP')
  port = http.port
  await plane.listen({ httpFd: http.fd, httpsFd: bindSocket('127.0.0.1', 0, 'HTTPS').fd })
  publish(`https://127.0.0.1:${servicePort}/check?x=1`)
})
afterEach(async () => {
  calls.close()
  service.closeAllConnections()
  await new Promise((resolve) => service.close(resolve))
  await Promise.all([plane.close(50, 0), backend.close()])
})
afterAll(() => undefined)

const publish = (routeServiceUrl: string, more: object = {}): void =>
  table.snapshot(
    [
      { ...aRoute('app.test', [anEndpoint({ port: backend.port })]), routeServiceUrl, ...more },
      aRoute('other.test', [anEndpoint({ port: backend.port })]),
    ],
    { epoch: '1', revision: Math.random() },
  )
/** What a service does: sends the request on to where it was told, by this router. */
const sendBack =
  (change: Record<string, string | undefined> = {}, status = 200) =>
  (request: IncomingMessage, response: ServerResponse): void => {
    const url = new URL(String(request.headers['x-cf-forwarded-url']))
    const body: Buffer[] = []
    request.on('data', (chunk: Buffer) => body.push(chunk))
    request.on('end', () => {
      const { connection: _connection, 'transfer-encoding': _coding, 'content-length': _length, ...headers } = request.headers
      void send(port, url.host, {
        method: request.method ?? 'GET',
        path: `${url.pathname}${url.search}`,
        headers: { ...headers, host: url.host, ...change },
        body: Buffer.concat(body),
      }).then((reply) => response.writeHead(status === 200 ? reply.status : status, { 'x-seen': 'yes' }).end(`via:${reply.body}`))
    })
  }

describe('a route service', () => {
  it('sees each request first, and sends it back to the instance', async () => {
    serve = sendBack()
    const reply = await send(port, 'app.test', { method: 'POST', path: '/a?b=c', body: 'hello' })
    expect(reply).toMatchObject({ status: 200, body: 'via:hello', headers: { 'x-seen': 'yes' } })
    expect(atService[0]).toMatchObject({ url: '/check?x=1', method: 'POST' })
    expect(atService[0]?.headers).toMatchObject({
      host: `127.0.0.1:${servicePort}`,
      'x-cf-forwarded-url': 'http://app.test/a?b=c',
      'x-cf-proxy-signature': expect.any(String),
      'x-cf-proxy-metadata': expect.any(String),
    })
    expect(atInstance[0]?.url).toBe('/a?b=c')
    for (const name of ['x-cf-forwarded-url', 'x-cf-proxy-signature', 'x-cf-proxy-metadata'])
      expect(atInstance[0]?.headers[name]).toBeUndefined()
  })

  it('is believed with either key while they change, and not for long', async () => {
    const [first, second] = keys
    serve = (request, response) => {
      signing = second && first ? [second, first] : []
      sendBack()(request, response)
    }
    expect((await send(port, 'app.test')).status).toBe(200)
    serve = (request, response) => {
      now = new Date(now.getTime() + 61_000)
      sendBack()(request, response)
    }
    expect(await send(port, 'app.test')).toMatchObject({ status: 504 })
    expect(atInstance).toHaveLength(1)
  })

  it('cannot be passed by with a signature that is another’s', async () => {
    serve = sendBack()
    const reply = await send(port, 'app.test', { headers: { 'x-cf-proxy-signature': 'abc', 'x-cf-proxy-metadata': 'abc' } })
    expect(reply).toMatchObject({ status: 502, headers: { 'x-cf-routererror': 'invalid_route_service_signature' } })
    table.change(
      [{ ...aRoute('second.test', [anEndpoint({ port: backend.port })]), routeServiceUrl: `https://127.0.0.1:${servicePort}/` }],
      [],
      { epoch: '1', revision: 9 },
    )
    // Signed for app.test, used for second.test.
    serve = sendBack({ host: 'second.test' })
    expect((await send(port, 'app.test')).status).toBe(502)
    expect(atInstance).toHaveLength(0)
  })

  it('decides on the answer', async () => {
    serve = (_request, response) => response.writeHead(429).end('later')
    expect(await send(port, 'app.test')).toMatchObject({ status: 429, body: 'later' })
    expect(atInstance).toHaveLength(0)
  })

  it('does not carry WebSockets', async () => {
    const reply = await send(port, 'app.test', { headers: { connection: 'Upgrade', upgrade: 'websocket' } })
    expect(reply).toMatchObject({ status: 503, headers: { 'x-cf-routererror': 'route_service_unsupported' } })
  })

  it('that is away, or where a tenant may not lead us, is a failure with its reason', async () => {
    publish('https://127.0.0.1:1/')
    const refused = await send(port, 'app.test')
    expect(refused.status).toBe(502)
    expect(refused.headers['x-cf-routererror']).toMatch(
      /^endpoint_failure \(route service 127\.0\.0\.1:1: .*BLOOMERY_TENANT_ADDRESSES/,
    )
    publish('https://127.0.0.1:1/', { routeServiceTrusted: true })
    expect((await send(port, 'app.test')).headers['x-cf-routererror']).toMatch(/ECONNREFUSED/)
    publish('http://127.0.0.1:1/')
    expect((await send(port, 'app.test')).status).toBe(502)
  })

  it('on this platform is reached through the table', async () => {
    publish('https://other.test/svc')
    const reply = await send(port, 'app.test', { path: '/x', method: 'PUT', body: 'body' })
    expect(reply).toMatchObject({ status: 200, body: 'body' })
    expect(atInstance[0]).toMatchObject({
      url: '/svc',
      headers: { host: 'other.test', 'x-cf-forwarded-url': 'http://app.test/x' },
    })
  })

  it('needs a key to sign with', async () => {
    signing = []
    expect((await send(port, 'app.test')).status).toBe(502)
  })
})
