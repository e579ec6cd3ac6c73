import { once } from 'node:events'
import { connect } from 'node:http2'
import { createServer, type AddressInfo } from 'node:net'
import { createAuthority, issueServerCertificate } from '@bloomery/pki'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { loadRouterConfig } from '../config.js'
import { anEndpoint, aRoute } from '../fake-scheduler.fixture.js'
import { send, sendRaw, startPlane, type TestPlane } from '../proxy/data-plane.fixture.js'
import { errorPageOf } from './error-page.js'

const TEMPLATE = '<h1>{{ .Status }} {{ .StatusText }}</h1><p>{{ .Message }}</p><i>{{ .Header.Get "X-Cf-RouterError" }}</i>'
const UNKNOWN = '<h1>404 Not Found</h1><p>Requested route (&#39;other.test&#39;) does not exist.</p><i>unknown_route</i>'
const PAGE = 'text/html; charset=utf-8'

/** A port at which nobody listens any more. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

describe('a template for errors', () => {
  let plane: TestPlane
  let ca: string
  beforeAll(async () => {
    const authority = await createAuthority({ name: 'test' })
    ca = authority.certificatePem
    const certificate = { names: ['app.test'], ...(await issueServerCertificate(authority, ['app.test', 'other.test'])) }
    plane = await startPlane({
      certificate,
      errorPage: errorPageOf(TEMPLATE),
      hosts: ['api.test'],
      upstreams: [`127.0.0.1:${await closedPort()}`],
    })
    const gone = await closedPort()
    plane.table.change(
      [aRoute('app.test', [anEndpoint({ port: gone })]), aRoute('h2.test', [anEndpoint({ port: gone, protocol: 'http2' })])],
      [],
      { epoch: '1', revision: 1 },
    )
  })
  afterAll(() => plane.close())

  it('is what clients of unknown routes see, with the same status and fields', async () => {
    const { status, headers, body } = await send(plane.port, 'other.test')
    expect({ status, body }).toEqual({ status: 404, body: UNKNOWN })
    expect(headers).toMatchObject({
      'content-type': PAGE,
      'content-length': String(UNKNOWN.length),
      'x-content-type-options': 'nosniff',
      'x-cf-routererror': 'unknown_route',
      'cache-control': 'no-cache, no-store',
    })
    const head = await send(plane.port, 'other.test', { method: 'HEAD' })
    expect(head).toMatchObject({
      status: 404,
      body: '',
      headers: { 'content-type': PAGE, 'content-length': String(UNKNOWN.length) },
    })
  })

  it.each(['app.test', 'h2.test'])('tells of instances that fail (%s)', async (host) => {
    const { status, headers, body } = await send(plane.port, host)
    expect({ status, type: headers['content-type'] }).toEqual({ status: 502, type: PAGE })
    expect(body).toMatch(/^<h1>502 Bad Gateway<\/h1><p>Registered endpoint failed .*<i>endpoint_failure \(dial tcp .*\)<\/i>$/)
  })

  it('is shown to who sends what is no request, and by HTTP/2', async () => {
    const { text } = await sendRaw(plane.port, 'no request\r\n\r\n')
    expect(text).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n[^]*Content-Type: text\/html[^]*\r\n\r\n<h1>400 Bad Request<\/h1><p>/)
    const session = connect(`https://127.0.0.1:${plane.httpsPort}`, { ca, servername: 'app.test' })
    try {
      const stream = session.request({ ':authority': 'other.test' })
      const [[headers], body] = await Promise.all([once(stream, 'response'), stream.setEncoding('utf8').toArray()])
      expect(headers).toMatchObject({ ':status': 404, 'content-type': PAGE, 'x-cf-routererror': 'unknown_route' })
      expect(body.join('')).toBe(UNKNOWN)
    } finally {
      session.destroy()
    }
  })

  it('leaves errors of the API to programs', async () => {
    const { status, headers, body } = await send(plane.port, 'api.test')
    expect({ status, type: headers['content-type'] }).toEqual({ status: 503, type: 'application/json; charset=utf-8' })
    expect(JSON.parse(body)).toMatchObject({ errors: [{ title: 'CF-ServiceUnavailable' }] })
  })

  it('is refused by its line where it is not understood', () => {
    const env = {
      BLOOMERY_NODE_DIR: '/node',
      BLOOMERY_SCHEDULER_URL: 'https://127.0.0.1:1',
      BLOOMERY_LOGS_URL: 'https://127.0.0.1:1',
      BLOOMERY_API_UPSTREAMS: 'http://127.0.0.1:1',
      BLOOMERY_ROUTER_ERROR_TEMPLATE: '<p>\n{{ range .Header }}{{ end }}',
    }
    expect(() => loadRouterConfig(env)).toThrow(/BLOOMERY_ROUTER_ERROR_TEMPLATE \(or …_FILE\): line 2, /)
  })
})
