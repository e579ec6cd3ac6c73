import { describe, expect, it } from '@jest/globals'
import { Exchange, type Framing } from '../proxy/exchange.js'
import type { Step } from '../proxy/disposition.js'
import { RawHeaders } from '../proxy/raw-headers.js'
import { forwarded } from './forwarded.js'
import { hopByHop } from './hop-by-hop.js'
import { requestId } from './request-id.js'
import { requestStart } from './request-start.js'
import { traceKey } from './trace-key.js'
import { toClientHeaders } from '../proxy/response-headers.js'

const exchangeOf = (
  method: string,
  fields: string[],
  over: { secure?: boolean; upgrade?: string; framing?: Framing } = {},
): Exchange => {
  const head = { method, target: '/', httpVersion: '1.1', headers: RawHeaders.from(fields), framing: over.framing ?? 'none' }
  const exchange = new Exchange(head, { secure: over.secure ?? false, address: '10.0.0.9', port: 5 }, 'id', 1234.5)
  exchange.upgrade = over.upgrade
  return exchange
}
const after = (step: Step, exchange: Exchange): string[] => {
  expect(step(exchange)).toBeUndefined()
  return exchange.headers.toFlat()
}

describe('forwarded', () => {
  it.each([
    [[], false, ['X-Forwarded-For', '10.0.0.9', 'X-Forwarded-Proto', 'http']],
    [[], true, ['X-Forwarded-For', '10.0.0.9', 'X-Forwarded-Proto', 'https']],
    [
      ['x-forwarded-for', '1.1.1.1', 'X-Forwarded-For', '2.2.2.2', 'x-forwarded-proto', 'https'],
      false,
      ['X-Forwarded-For', '1.1.1.1, 2.2.2.2, 10.0.0.9', 'x-forwarded-proto', 'https'],
    ],
  ])('%j, TLS %s', (headers, secure, expected) =>
    expect(after(forwarded(), exchangeOf('GET', headers, { secure }))).toEqual(expected),
  )
})

describe('traceKey', () => {
  it.each([
    ['the key', ['X-Vcap-Trace', 'secret-key'], ['router-1', '10.1.1.1:80', '10.1.1.1:80']],
    ['another', ['X-Vcap-Trace', 'other'], []],
    ['none', [], []],
  ])('with %s', (_name, fields, told) => {
    const exchange = exchangeOf('GET', fields)
    traceKey('secret-key', 'router-1')(exchange)
    exchange.outcome.backend = '10.1.1.1:80'
    const headers = RawHeaders.from([])
    toClientHeaders(exchange, headers)
    const names = ['x-vcap-router', 'x-vcap-backend', 'x-cf-routeendpoint']
    expect(names.map((name) => headers.get(name)).filter((value) => value !== undefined)).toEqual(told)
  })
})

describe('hopByHop', () => {
  it.each<[string, string, string[], string[]]>([
    ['states an empty body', 'POST', [], ['Content-Length', '0']],
    ['leaves GET alone', 'GET', [], []],
    ['keeps a length', 'PUT', ['content-length', '5'], ['content-length', '5']],
    ['drops what Connection names', 'GET', ['Connection', 'close, X-A', 'X-A', '1', 'X-B', '2'], ['X-B', '2']],
    [
      'keeps what others rely on',
      'GET',
      ['Connection', 'Host, Cookie', 'Host', 'a', 'Cookie', 'b'],
      ['Host', 'a', 'Cookie', 'b'],
    ],
    ['keeps only trailers of TE', 'GET', ['TE', 'deflate, trailers;q=1'], ['TE', 'trailers']],
    ['drops an offer to upgrade', 'GET', ['Connection', 'Upgrade', 'Upgrade', 'websocket'], []],
  ])('%s', (_name, method, headers, expected) => expect(after(hopByHop, exchangeOf(method, headers))).toEqual(expected))

  it('states chunks anew', () =>
    expect(after(hopByHop, exchangeOf('GET', ['transfer-encoding', 'Chunked'], { framing: 'chunked' }))).toEqual([
      'Transfer-Encoding',
      'chunked',
    ]))

  it('keeps the upgrade of a WebSocket', () => {
    const exchange = exchangeOf('GET', ['Connection', 'keep-alive, Upgrade', 'Upgrade', 'websocket'], { upgrade: 'websocket' })
    expect(after(hopByHop, exchange)).toEqual(['Connection', 'Upgrade', 'Upgrade', 'websocket'])
  })
})

describe('requestStart and requestId', () => {
  it('say when it came, unless someone in front did', () => {
    expect(after(requestStart, exchangeOf('GET', []))).toEqual(['X-Request-Start', '1234'])
    expect(after(requestStart, exchangeOf('GET', ['x-request-start', '1']))).toEqual(['x-request-start', '1'])
  })
  it('replace the id of the client', () =>
    expect(after(requestId, exchangeOf('GET', ['x-vcap-request-id', 'forged']))).toEqual(['X-Vcap-Request-Id', 'id']))
})
