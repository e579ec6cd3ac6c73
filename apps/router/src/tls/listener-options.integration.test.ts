import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'
import { connect as connectHttp2 } from 'node:http2'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync, utimesSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { createAuthority, issueServerCertificate, makeTestIdentity } from '@bloomery/pki'
import { silentLogger } from '@bloomery/telemetry'
import { anEndpoint, aRoute } from '../fake-scheduler.fixture.js'
import { bindSocket } from '../holder/listening-sockets.js'
import { Http1DataPlane } from '../http1/http1-data-plane.js'
import { Http2Clients } from '../http2/http2-clients.js'
import { startBackend } from '../proxy/data-plane.fixture.js'
import type { ListenerOptions } from '../proxy/data-plane.js'
import { createPipeline, type PipelineDeps } from '../proxy/pipeline.js'
import { RouteTable } from '../table/route-table.js'
import { CertificateStore } from './certificate-store.js'
import { SessionTickets } from './session-tickets.js'

let ca: string
let certificate: { certificatePem: string; privateKeyPem: string }
let client: { cert: string; key: string; ca: string }
let stranger: { cert: string; key: string }
beforeAll(async () => {
  const authority = await createAuthority({ name: 'test' })
  ca = authority.certificatePem
  certificate = await issueServerCertificate(authority, ['app.test'])
  const [one, other] = [await makeTestIdentity('cell'), await makeTestIdentity('cell')]
  client = { cert: one.identity.certificatePem, key: one.identity.privateKeyPem, ca: one.identity.authorityPem }
  stranger = { cert: other.identity.certificatePem, key: other.identity.privateKeyPem }
})

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

async function start(
  listener: ListenerOptions,
  more: Partial<PipelineDeps> = {},
): Promise<{ http: number; https: number; plane: Http1DataPlane }> {
  const backend = await startBackend((request, response) =>
    response.end(`${String(request.headers['x-forwarded-for'])} ${String(request.headers['x-forwarded-client-cert'])}`),
  )
  const table = new RouteTable()
  table.change([aRoute('app.test', [anEndpoint({ port: backend.port })])], [], { epoch: '1', revision: 1 })
  const certificates = new CertificateStore(listener.clientCertificates?.ca)
  certificates.replace([{ names: ['app.test'], ...certificate }], () => undefined)
  const decide = createPipeline({
    table,
    hosts: new Set(),
    upstreams: [],
    localCells: new Set(),
    isHealthy: () => true,
    ...more,
  })
  const deps = { log: silentLogger, findCertificate: (name: string) => certificates.find(name), record: () => undefined, decide }
  const plane = new Http1DataPlane({ ...deps, http2: new Http2Clients(deps), listener })
  certificates.onDefault((first) => plane.setDefaultCertificate(first))
  const [http, https] = [bindSocket('127.0.0.1', 0, 'A'), bindSocket('127.0.0.1', 0, 'B')]
  await plane.listen({ httpFd: http.fd, httpsFd: https.fd })
  closing.push(
    () => backend.close(),
    () => plane.close(50, 0),
  )
  return { http: http.port, https: https.port, plane }
}

const GET = 'GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n'
/** What comes back; the reason why nothing does. */
const ask = (socket: Socket, text = GET): Promise<string> =>
  new Promise((resolve) => {
    let answer = ''
    socket.on('data', (chunk: Buffer) => (answer += chunk.toString()))
    socket.on('error', (error) => (answer ||= error.message))
    socket.on('close', () => resolve(answer))
    socket.write(text)
  })
const over = (port: number, options: ConnectionOptions = {}): Promise<string> =>
  ask(connectTls({ port, host: '127.0.0.1', servername: 'app.test', ca, ...options }))

describe('the public listeners', () => {
  it('take the client’s address from a load balancer, over HTTP, TLS and HTTP/2', async () => {
    const { http, https } = await start({ proxyProtocol: true })
    const header = 'PROXY TCP4 192.0.2.9 10.0.0.1 4711 80\r\n'
    expect(await ask(connectTcp(http, '127.0.0.1'), header + GET)).toMatch(/\r\n192\.0\.2\.9 /)
    expect(await ask(connectTcp(http, '127.0.0.1'))).toMatch(/\r\n127\.0\.0\.1 /)
    expect(await ask(connectTcp(http, '127.0.0.1'), 'PROXY TCP4 nonsense\r\n')).toBe('')
    const begin = async (): Promise<Socket> => {
      const socket = connectTcp(https, '127.0.0.1')
      await new Promise((resolve) => socket.write(header, resolve))
      return socket
    }
    expect(await ask(connectTls({ socket: await begin(), servername: 'app.test', ca }))).toMatch(/\r\n192\.0\.2\.9 /)
    const secure = connectTls({ socket: await begin(), servername: 'app.test', ca, ALPNProtocols: ['h2'] })
    const session = connectHttp2('https://app.test', { createConnection: () => secure })
    const stream = session.request({ ':path': '/' })
    let text = ''
    for await (const chunk of stream) text += String(chunk)
    expect(text).toMatch(/^192\.0\.2\.9 /)
    session.destroy()
  })

  it('speak no older TLS than they shall', async () => {
    const { https } = await start({ minTlsVersion: 'TLSv1.3' })
    expect(await over(https)).toMatch(/200 OK/)
    expect(await over(https, { maxVersion: 'TLSv1.2' })).toMatch(/protocol version/i)
  })

  it.each([
    ['TLS_AES_128_GCM_SHA256', {}],
    ['TLS_AES_256_GCM_SHA384', { ciphers: 'TLS_AES_256_GCM_SHA384' }],
    ['ECDHE-ECDSA-AES128-GCM-SHA256', { maxVersion: 'TLSv1.2' }],
  ] as const)('agree on %s with clients that say %j', async (name, options) => {
    const { https } = await start({})
    const socket = connectTls({ port: https, host: '127.0.0.1', servername: 'app.test', ca, ...options })
    let agreed = ''
    socket.on('secureConnect', () => (agreed = socket.getCipher().name))
    expect(await ask(socket)).toMatch(/200 OK/)
    expect(agreed).toBe(name)
  })

  it('tell instances of the certificate that a client has shown, where they ask for one', async () => {
    const options = { clientCertificates: { required: false, ca: client.ca } }
    const { https } = await start(options, { clientCertificates: 'sanitize_set' })
    const encoded = new X509Certificate(client.cert).raw.toString('base64')
    expect(await over(https, { cert: client.cert, key: client.key })).toContain(` ${encoded}`)
    expect(await over(https)).toMatch(/ undefined$/)
    expect(await over(https, stranger)).toMatch(/ undefined$/)
    const forged = GET.replace('Connection', 'X-Forwarded-Client-Cert: forged\r\nConnection')
    expect(await ask(connectTls({ port: https, host: '127.0.0.1', servername: 'app.test', ca }), forged)).toMatch(/ undefined$/)
  })

  it('let nobody in without one where they must', async () => {
    const { https } = await start({ clientCertificates: { required: true, ca: client.ca } })
    expect(await over(https, { cert: client.cert, key: client.key })).toMatch(/200 OK/)
    expect(await over(https)).not.toMatch(/200 OK/)
    expect(await over(https, stranger)).not.toMatch(/200 OK/)
  })

  it('resume a session that another worker began, under the same rules alone', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'router-tickets-'))
    const path = join(folder, 'run/session-tickets')
    const worker = async (options: ListenerOptions): Promise<number> => {
      const { https, plane } = await start(options)
      const tickets = SessionTickets.follow(path, (keys) => plane.setTicketKeys(keys), silentLogger)
      closing.push(() => Promise.resolve(tickets.close()))
      return https
    }
    const [first, second, strict] = [await worker({}), await worker({}), await worker({ minTlsVersion: 'TLSv1.3' })]
    const visit = async (port: number, session?: Buffer): Promise<{ reused: boolean; session: Buffer | undefined }> => {
      const options = { port, host: '127.0.0.1', servername: 'app.test', ca }
      const socket = connectTls(session ? { ...options, session } : options)
      let given: Buffer | undefined
      let reused = false
      socket.on('session', (each) => (given = each))
      socket.on('secureConnect', () => (reused = socket.isSessionReused()))
      expect(await ask(socket)).toMatch(/200 OK/)
      return { reused, session: given }
    }
    const begun = await visit(first)
    expect(begun.reused).toBe(false)
    expect(await visit(second, begun.session)).toMatchObject({ reused: true })
    expect(await visit(strict, begun.session)).toMatchObject({ reused: false })
    // Half a day later they are gone.
    const old = new Date(Date.now() - 13 * 60 * 60_000)
    utimesSync(path, old, old)
    expect(await visit(await worker({}), begun.session)).toMatchObject({ reused: false })
    rmSync(folder, { recursive: true, force: true })
  })
})
