import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import {
  connect,
  constants,
  createServer as createHttp2Server,
  type ClientHttp2Session,
  type OutgoingHttpHeaders,
} from 'node:http2'
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import * as grpc from '@grpc/grpc-js'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { LogLine, RouteEndpoint } from '@bloomery/contracts'
import { createAuthority, issueServerCertificate } from '@bloomery/pki'
import { silentLogger } from '@bloomery/telemetry'
import { eventually } from '@bloomery/testing'
import { recordExchange } from '../access-log/record-exchange.js'
import { anEndpoint, aRoute } from '../fake-scheduler.fixture.js'
import { bindSocket } from '../holder/listening-sockets.js'
import { Http1DataPlane } from '../http1/http1-data-plane.js'
import { createPipeline } from '../proxy/pipeline.js'
import { send } from '../proxy/data-plane.fixture.js'
import { RouteTable } from '../table/route-table.js'
import { CertificateStore } from '../tls/certificate-store.js'
import { Http2Clients } from './http2-clients.js'
import { Http2Endpoints } from './http2-endpoints.js'

let ca: string
let certificate: { certificatePem: string; privateKeyPem: string }
beforeAll(async () => {
  const authority = await createAuthority({ name: 'test' })
  ca = authority.certificatePem
  certificate = await issueServerCertificate(authority, ['app.test', 'grpc.test'])
})

let table: RouteTable
let plane: Http1DataPlane
let http2: Http2Clients
let endpoints: Http2Endpoints
let httpsPort: number
let httpPort: number
let lines: LogLine[]
let closing: (() => unknown)[]
let revision = 0
beforeEach(async () => {
  closing = []
  lines = []
  table = new RouteTable()
  endpoints = new Http2Endpoints()
  const certificates = new CertificateStore()
  certificates.replace([{ names: ['app.test', 'grpc.test'], ...certificate }], () => undefined)
  const record = recordExchange({
    sender: () => ({
      send: (envelope) => void (envelope.kind === 'log' && lines.push(envelope)),
      nextTimestamp: () => '1',
    }),
  })
  const decide = createPipeline({
    table,
    hosts: new Set(),
    upstreams: [],
    localCells: new Set(),
    http2Endpoints: endpoints,
    isHealthy: () => true,
  })
  http2 = new Http2Clients({ decide, record, log: silentLogger })
  plane = new Http1DataPlane({ log: silentLogger, findCertificate: (name) => certificates.find(name), record, decide, http2 })
  certificates.onDefault((first) => plane.setDefaultCertificate(first))
  const [http, https] = [bindSocket('127.0.0.1', 0, 'HTTP'), bindSocket('127.0.0.1', 0, 'HTTPS')]
  ;[httpPort, httpsPort] = [http.port, https.port]
  await plane.listen({ httpFd: http.fd, httpsFd: https.fd })
})
afterEach(async () => {
  for (const close of closing.reverse()) await close()
  endpoints.close()
  await plane.close(200, 0)
})

const publish = (host: string, ...list: RouteEndpoint[]): void =>
  table.change([aRoute(host, list)], [], { epoch: '1', revision: ++revision })
async function backend(handle: RequestListener): Promise<number> {
  const server: Server = createServer(handle)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(
    () => server.closeAllConnections(),
    () => new Promise((resolve) => server.close(resolve)),
  )
  return (server.address() as AddressInfo).port
}
function client(): ClientHttp2Session {
  const session = connect(`https://127.0.0.1:${httpsPort}`, { ca, servername: 'app.test' })
  session.on('error', () => undefined)
  closing.push(() => session.destroy())
  return session
}
interface Answer {
  readonly status: number | undefined
  readonly headers: Record<string, unknown>
  readonly trailers: Record<string, unknown> | undefined
  readonly body: string
}
const ask = (session: ClientHttp2Session, headers: OutgoingHttpHeaders, body?: string): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const stream = session.request({ ':authority': 'app.test', ...headers }, { endStream: body === undefined })
    let answer: Answer | undefined
    let text = ''
    let trailers: Record<string, unknown> | undefined
    stream.on(
      'response',
      (fields) => void (answer = { status: fields[':status'], headers: fields, trailers: undefined, body: '' }),
    )
    stream.on('trailers', (fields) => void (trailers = fields))
    stream.on('data', (chunk: Buffer) => void (text += chunk.toString()))
    stream.on('error', reject)
    stream.on('close', () => (answer ? resolve({ ...answer, trailers, body: text }) : reject(new Error('no answer'))))
    if (body !== undefined) stream.end(body)
  })

describe('a client that speaks HTTP/2', () => {
  it('is served by instances that do not, many requests at once', async () => {
    const port = await backend((request, response) => {
      let body = ''
      request.on('data', (chunk: Buffer) => (body += chunk.toString()))
      request.on('end', () =>
        response.end(JSON.stringify({ method: request.method, url: request.url, headers: request.headers, body })),
      )
    })
    publish('app.test', anEndpoint({ port }))
    const session = client()
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        ask(session, { ':path': `/p?n=${i}`, ':method': 'POST', cookie: ['a=1', 'b=2'], te: 'trailers' }, `body ${i}`),
      ),
    )
    for (const [i, { status, body, headers }] of answers.entries()) {
      expect(status).toBe(200)
      expect(headers['x-vcap-request-id']).toMatch(/./)
      expect(JSON.parse(body)).toMatchObject({
        method: 'POST',
        url: `/p?n=${i}`,
        body: `body ${i}`,
        headers: { host: 'app.test', cookie: 'a=1; b=2', 'x-forwarded-proto': 'https', 'x-forwarded-for': '127.0.0.1' },
      })
    }
    expect(lines[0]?.text).toContain('HTTP/2.0" 200')
  })

  it('gets the router’s own answers, trailers, and errors that are no whole answers', async () => {
    const session = client()
    const unknown = await ask(session, { ':path': '/', ':authority': 'nobody.test' })
    expect(unknown).toMatchObject({ status: 404, headers: { 'x-cf-routererror': 'unknown_route' } })
    const port = await backend((request, response) => {
      if (request.url === '/cut') {
        response.writeHead(200, { 'content-length': '100' }).write('half')
        setTimeout(() => response.destroy(), 20)
        return
      }
      response.writeHead(200, { trailer: 'x-sum' }).write('body')
      response.addTrailers({ 'x-sum': '7' })
      response.end()
    })
    publish('app.test', anEndpoint({ port }))
    expect(await ask(session, { ':path': '/' })).toMatchObject({ body: 'body', trailers: { 'x-sum': '7' } })
    await expect(ask(session, { ':path': '/cut' })).rejects.toThrow(/INTERNAL_ERROR/)
    publish('app.test', anEndpoint({ port: 1 }))
    expect(await ask(session, { ':path': '/' })).toMatchObject({ status: 502 })
    expect((await ask(session, { ':path': '/', ':method': 'HEAD', ':authority': 'nobody.test' })).body).toBe('')
  })

  it('sees its request refused where fields are not to be believed', async () => {
    const session = client()
    publish('app.test', anEndpoint({ port: 1 }))
    expect(await ask(session, { ':path': '/', host: 'other.test' })).toMatchObject({ status: 400 })
    await expect(ask(session, { ':path': '*' })).rejects.toThrow(/PROTOCOL_ERROR/)
    expect((await ask(client(), { ':path': '/', 'transfer-encoding': 'chunked' }).catch(() => ({ status: 400 }))).status).toBe(
      400,
    )
  })

  it('is curl', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'bloomery-curl-'))
    closing.push(() => rmSync(folder, { recursive: true }))
    writeFileSync(join(folder, 'ca.pem'), ca)
    publish('app.test', anEndpoint({ port: await backend((request, response) => request.pipe(response)) }))
    const { stdout } = await promisify(execFile)('curl', [
      ...['--silent', '--http2', '--cacert', join(folder, 'ca.pem'), '--resolve', `app.test:${httpsPort}:127.0.0.1`],
      ...['--data', 'hello', '--write-out', ' %{http_version} %{http_code}', `https://app.test:${httpsPort}/`],
    ])
    expect(stdout).toBe('hello 2 200')
  })

  it('is sent away by a drain, once its requests are answered', async () => {
    publish(
      'app.test',
      anEndpoint({ port: await backend((_request, response) => void setTimeout(() => response.end('late'), 200)) }),
    )
    const session = client()
    const open = ask(session, { ':path': '/' })
    await ask(session, { ':path': '/', ':authority': 'nobody.test' })
    const closed = new Promise((resolve) => session.once('close', resolve))
    const drained = plane.close(3_000, 0)
    expect(await open).toMatchObject({ status: 200, body: 'late' })
    await Promise.all([closed, drained])
  })
})

describe('instances that speak HTTP/2', () => {
  it('serve clients that do not', async () => {
    const server = createHttp2Server((request, response) => {
      let body = ''
      request.on('data', (chunk: Buffer) => (body += chunk.toString()))
      request.on('end', () => {
        response.setHeader('x-version', request.httpVersion)
        response.end(`${request.method} ${request.url} ${request.authority} ${body}`)
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    closing.push(() => server.close())
    publish('app.test', { ...anEndpoint({ port: (server.address() as AddressInfo).port }), protocol: 'http2' })
    const reply = await send(httpPort, 'app.test', { method: 'PUT', path: '/x', body: 'hi' })
    expect(reply).toMatchObject({ status: 200, body: 'PUT /x app.test hi', headers: { 'x-version': '2.0' } })
    const dead = { ...anEndpoint({ port: 1 }), protocol: 'http2' as const }
    publish('dead.test', dead)
    expect(await send(httpPort, 'dead.test')).toMatchObject({ status: 502, headers: { 'x-cf-routererror': /^endpoint_failure/ } })
    publish('half.test', dead, { ...anEndpoint({ port: (server.address() as AddressInfo).port }), protocol: 'http2' })
    for (let i = 0; i < 3; i++) expect((await send(httpPort, 'half.test')).status).toBe(200)
  })
})

describe('instances of one route that speak different protocols', () => {
  const echo: RequestListener = (request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => response.end(`${request.httpVersion} ${request.method} ${body}`))
  }
  async function http2Backend(): Promise<number> {
    const server = createHttp2Server((request, response) =>
      echo(request as unknown as IncomingMessage, response as unknown as ServerResponse),
    )
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    closing.push(() => server.close())
    return (server.address() as AddressInfo).port
  }
  const ways = {
    'HTTP/1.1': async (host: string) => (await send(httpPort, host, { method: 'PUT', body: 'hello' })).body,
    'HTTP/2': async (host: string) => (await ask(client(), { ':path': '/', ':method': 'PUT', ':authority': host }, 'hello')).body,
  }

  describe.each(['HTTP/1.1', 'HTTP/2'] as const)('asked by a client over %s', (way) => {
    it.each([
      ['HTTP/2', 'HTTP/1.1', 'http2', 'http1', '1.1'],
      ['HTTP/1.1', 'HTTP/2', 'http1', 'http2', '2.0'],
    ] as const)(
      'stand in for each other: one over %s refuses, one over %s answers',
      async (_one, _other, dead, alive, version) => {
        const refusing = bindSocket('127.0.0.1', 0, 'refuses')
        const failing = anEndpoint({ port: refusing.port, protocol: dead })
        const serving = anEndpoint({ port: alive === 'http2' ? await http2Backend() : await backend(echo), protocol: alive })
        publish('mixed.test', failing, serving)
        // By turns: one of the two begins with the instance that refuses.
        const answers = [await ways[way]('mixed.test'), await ways[way]('mixed.test')]
        refusing.close()
        expect(answers).toEqual([`${version} PUT hello`, `${version} PUT hello`])
        expect(table.health.isFailed(failing)).toBe(true)
        // What was sent and answered is counted once, whoever passed it on.
        await eventually(() => lines.length === 2)
        for (const { text } of lines) expect(text).toMatch(/" 200 5 13 /)
      },
    )

    it('answer for the last one where none is left', async () => {
      const refusing = [bindSocket('127.0.0.1', 0, 'one'), bindSocket('127.0.0.1', 0, 'two')]
      const [one = 0, two = 0] = refusing.map(({ port }) => port)
      publish('none.test', anEndpoint({ port: one, protocol: 'http2' }), anEndpoint({ port: two, protocol: 'http1' }))
      const answer = await (way === 'HTTP/2'
        ? ask(client(), { ':path': '/', ':authority': 'none.test' })
        : send(httpPort, 'none.test'))
      for (const each of refusing) each.close()
      expect(answer.status).toBe(502)
      expect(answer.headers['x-cf-routererror']).toMatch(
        /^endpoint_failure \(dial tcp 127\.0\.0\.1:\d+: connect: connection refused\)$/,
      )
    })
  })
})

describe('gRPC', () => {
  const text = { serialize: (value: string) => Buffer.from(value), deserialize: (bytes: Buffer) => bytes.toString() }
  const method = (path: string, requestStream: boolean, responseStream: boolean) => ({
    path,
    requestStream,
    responseStream,
    requestSerialize: text.serialize,
    requestDeserialize: text.deserialize,
    responseSerialize: text.serialize,
    responseDeserialize: text.deserialize,
  })
  const definition = {
    say: method('/test.Echo/Say', false, false),
    count: method('/test.Echo/Count', false, true),
    chat: method('/test.Echo/Chat', true, true),
  }

  it('passes: calls, streams both ways, statuses with their details, deadlines', async () => {
    const server = new grpc.Server()
    server.addService(definition, {
      say: ({ request, metadata }: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) => {
        if (request === 'fail') return done({ code: grpc.status.NOT_FOUND, details: 'no such thing' })
        if (request === 'sleep') return
        const trailers = new grpc.Metadata()
        trailers.set('x-trailer', 'end')
        done(null, `hello ${request} ${String(metadata.get('x-tenant')[0])}`, trailers)
      },
      count: (call: grpc.ServerWritableStream<string, string>) => {
        for (let i = 1; i <= Number(call.request); i++) call.write(String(i))
        call.end()
      },
      chat: (call: grpc.ServerDuplexStream<string, string>) => {
        call.on('data', (line: string) => call.write(`re: ${line}`))
        call.on('end', () => call.end())
      },
    })
    const port = await promisify<string, grpc.ServerCredentials, number>(server.bindAsync.bind(server))(
      '127.0.0.1:0',
      grpc.ServerCredentials.createInsecure(),
    )
    closing.push(() => server.forceShutdown())
    publish('grpc.test', { ...anEndpoint({ port }), protocol: 'http2' })
    const Client = grpc.makeGenericClientConstructor(definition, 'Echo')
    const stub = new Client(`127.0.0.1:${httpsPort}`, grpc.credentials.createSsl(Buffer.from(ca)), {
      'grpc.ssl_target_name_override': 'grpc.test',
      'grpc.default_authority': 'grpc.test',
    })
    closing.push(() => stub.close())
    const say = (request: string, deadlineMs = 5_000): Promise<{ answer: string; trailers: grpc.Metadata | undefined }> =>
      new Promise((resolve, reject) => {
        const metadata = new grpc.Metadata()
        metadata.set('x-tenant', 't1')
        let trailers: grpc.Metadata | undefined
        const call = stub['say']?.(
          request,
          metadata,
          { deadline: Date.now() + deadlineMs },
          (error: grpc.ServiceError | null, answer: string) =>
            void setImmediate(() => (error ? reject(error) : resolve({ answer, trailers }))),
        ) as grpc.ClientUnaryCall
        call.on('status', (status: grpc.StatusObject) => void (trailers = status.metadata))
      })
    const { answer, trailers } = await say('you')
    expect([answer, trailers?.get('x-trailer')]).toEqual(['hello you t1', ['end']])
    await expect(say('fail')).rejects.toMatchObject({ code: grpc.status.NOT_FOUND, details: 'no such thing' })
    await expect(say('sleep', 200)).rejects.toMatchObject({ code: grpc.status.DEADLINE_EXCEEDED })

    const counted: string[] = []
    for await (const each of stub['count']?.('100') as grpc.ClientReadableStream<string>) counted.push(each as string)
    expect(counted).toHaveLength(100)

    const chat = stub['chat']?.() as grpc.ClientDuplexStream<string, string>
    const heard = (): Promise<string> => new Promise((resolve) => chat.once('data', resolve))
    for (const line of ['one', 'two', 'three']) {
      chat.write(line)
      expect(await heard()).toBe(`re: ${line}`)
    }
    chat.end()
    await new Promise((resolve) => chat.once('end', resolve))
    expect(lines.at(-1)?.text).toContain('/test.Echo/')
    expect(constants.HTTP2_HEADER_STATUS).toBe(':status')
  })
})
