import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { anEndpoint, aRoute } from '../fake-scheduler.fixture.js'
import { sendRaw, startBackend, startPlane, type TestPlane } from './data-plane.fixture.js'

let plane: TestPlane
let backend: Awaited<ReturnType<typeof startBackend>>
let reached: string[] = []
const get = (lines: string, body = ''): string => `GET / HTTP/1.1\r\nHost: app.test\r\n${lines}\r\n${body}`
const post = (lines: string, body = ''): string => `POST / HTTP/1.1\r\nHost: app.test\r\n${lines}\r\n${body}`
const chunked = (body: string): string => post('Transfer-Encoding: chunked\r\n', body)

describe.each(['http1', 'plain'] as const)('the %s plane', (kind) => {
  beforeAll(async () => {
    backend = await startBackend((request, response) => {
      reached.push(request.url ?? '')
      request
        .resume()
        .once('end', () => response.end(`${request.method ?? ''} ${request.url ?? ''} ${request.headers.host ?? ''}`))
    })
    plane = await startPlane({ plane: kind })
    plane.table.change([aRoute('app.test', [anEndpoint({ port: backend.port })])], [], { epoch: '1', revision: 1 })
  })
  afterAll(async () => {
    await plane.close()
    await backend.close()
  })

  describe('what peers might read differently is refused, and the connection ends', () => {
    it.each<[string, string]>([
      ['bare LF line ends', 'GET / HTTP/1.1\nHost: app.test\n\n'],
      ['a continued header line', get('X-A: 1\r\n 2\r\n')],
      ['a space before the colon', get('X-A : 1\r\n')],
      ['an empty name', get(': 1\r\n')],
      ['a line without a colon', get('X-A\r\n')],
      ['NUL in a value', get('X-A: a\0b\r\n')],
      ['a bare CR in a value', get('X-A: a\rb\r\n')],
      ['no Host', 'GET / HTTP/1.1\r\n\r\n'],
      ['two Hosts', get('Host: other.test\r\n')],
      ['Content-Length and Transfer-Encoding', post('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n')],
      ['two different lengths', post('Content-Length: 5\r\nContent-Length: 6\r\n', 'hello!')],
      ['a length with a sign', post('Content-Length: +5\r\n', 'hello')],
      ['a length in hexadecimal', post('Content-Length: 0x5\r\n', 'hello')],
      ['two equal lengths', post('Content-Length: 5\r\nContent-Length: 5\r\n', 'hello')],
      ['a list of lengths', post('Content-Length: 5, 5\r\n', 'hello')],
      ['an unknown coding', post('Transfer-Encoding: xchunked\r\n', '0\r\n\r\n')],
      ['chunked not last', post('Transfer-Encoding: chunked, identity\r\n', '0\r\n\r\n')],
      ['Transfer-Encoding twice', post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n')],
      ['Transfer-Encoding in HTTP/1.0', 'POST / HTTP/1.0\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
      ['HTTP/1.2', 'GET / HTTP/1.2\r\nHost: app.test\r\n\r\n'],
      ['a space in the target', 'GET /a b HTTP/1.1\r\nHost: app.test\r\n\r\n'],
      ['a byte above 0x7e in the target', 'GET /\xe9 HTTP/1.1\r\nHost: app.test\r\n\r\n'],
      ['a method in lower case', 'get / HTTP/1.1\r\nHost: app.test\r\n\r\n'],
      ['CONNECT', 'CONNECT app.test:443 HTTP/1.1\r\nHost: app.test\r\n\r\n'],
      ['an absolute target with another Host', 'GET http://app.test:80/x?y HTTP/1.1\r\nHost: other.test\r\n\r\n'],
      ['a path in the Host', 'GET / HTTP/1.1\r\nHost: app.test/x\r\n\r\n'],
    ])('%s', async (_name, bytes) => {
      reached = []
      const { text, closed } = await sendRaw(plane.port, Buffer.from(bytes, 'latin1'))
      expect(text).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/)
      expect(text).toContain('X-Cf-RouterError: ')
      expect(closed).toBe(true)
      expect(reached).toEqual([])
    })

    it.each<[string, string]>([
      ['a chunk size in C notation', chunked('0x5\r\nhello\r\n0\r\n\r\n')],
      ['a chunk not followed by CRLF', chunked('5\r\nhelloXX0\r\n\r\n')],
      ['a chunk size of 17 digits', chunked('11111111111111111\r\nhello\r\n0\r\n\r\n')],
      ['a chunk extension ended by bare LF', chunked('5;a=b\nhello\r\n0\r\n\r\n')],
    ])('%s, though the head may have been sent on', async (_name, bytes) => {
      const { text, closed } = await sendRaw(plane.port, bytes)
      expect(text).not.toMatch(/^HTTP\/1\.1 2/)
      expect(closed).toBe(true)
    })

    it('no version at all', async () => {
      const { text } = await sendRaw(plane.port, 'GET /\r\n\r\n')
      expect(text).not.toMatch(/ 200 /)
    })

    it('a head beyond 1 MiB, with 431', async () => {
      const { text } = await sendRaw(plane.port, get(`X-A: ${'a'.repeat(1_250_000)}\r\n`), 2_000)
      expect(text).toMatch(/^HTTP\/1\.1 431 [^]*max-request-size-exceeded/)
    })
  })

  describe('what is legal is served', () => {
    it.each<[string, string, RegExp]>([
      ['HTTP/1.0 with a Host', 'GET / HTTP/1.0\r\nHost: app.test\r\n\r\n', /200 OK[^]*GET \/ app\.test$/],
      [
        'an absolute target',
        'GET http://app.test:80/x?y HTTP/1.1\r\nHost: app.test\r\n\r\n',
        /200 OK[^]*GET \/x\?y app\.test:80/,
      ],
      [
        'an absolute target without a path',
        'GET http://app.test HTTP/1.1\r\nHost: app.test\r\n\r\n',
        /200 OK[^]*GET \/ app\.test/,
      ],
      ['empty lines before the request', `\r\n\r\n${get('')}`, /200 OK/],
      ['OPTIONS * about the router', 'OPTIONS * HTTP/1.1\r\nHost: app.test\r\n\r\n', /200 OK[^]*\r\n\r\n$/],
      ['TRACE', 'TRACE / HTTP/1.1\r\nHost: app.test\r\n\r\n', /200 OK[^]*TRACE \//],
      ['Connection: host', get('Connection: host\r\n'), /200 OK[^]*GET \/ app\.test/],
      ['a head of 70 KiB', get(`X-A: ${'a'.repeat(70_000)}\r\n`), /^HTTP\/1\.1 (200|431) /],
      ['600 header lines', get(Array.from({ length: 600 }, (_, i) => `X-${i}: 1\r\n`).join('')), /200 OK/],
      ['a target that begins with two slashes', 'GET //a/b HTTP/1.1\r\nHost: app.test\r\n\r\n', /200 OK[^]*GET \/\/a\/b/],
      ['a Host with a final dot and capitals', 'GET / HTTP/1.1\r\nHost: APP.test.\r\n\r\n', /200 OK/],
    ])('%s', async (_name, bytes, expected) => {
      const { text } = await sendRaw(plane.port, bytes)
      expect(text).toMatch(expected)
    })
  })
})
