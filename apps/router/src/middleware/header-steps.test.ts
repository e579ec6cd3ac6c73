import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, expect, it } from '@jest/globals'
import { createExchange, type Exchange } from '../proxy/exchange.js'
import { forwarded } from './forwarded.js'
import { hopByHop } from './hop-by-hop.js'
import { requestId } from './request-id.js'
import { requestStart } from './request-start.js'

const exchangeOf = (method: string, rawHeaders: string[], over: Partial<Pick<Exchange, 'secure' | 'upgrade'>> = {}): Exchange =>
  createExchange(
    { method, rawHeaders, url: '/', socket: { remoteAddress: '::ffff:10.0.0.9', remotePort: 5 } } as unknown as IncomingMessage,
    {} as ServerResponse,
    { secure: false, upgrade: undefined, requestId: 'id', receivedAt: 1234.5, ...over },
  )
const after = async (step: typeof forwarded, exchange: Exchange): Promise<string[]> => {
  let went = false
  await step(exchange, async () => void (went = true))
  expect(went).toBe(true)
  return exchange.headers.toFlat()
}

describe('forwarded', () => {
  it.each([
    [[], false, ['X-Forwarded-For', '10.0.0.9', 'X-Forwarded-Proto', 'http']],
    [[], true, ['X-Forwarded-For', '10.0.0.9', 'X-Forwarded-Proto', 'https']],
    [
      ['x-forwarded-for', '1.1.1.1', 'X-Forwarded-For', '2.2.2.2', 'x-forwarded-proto', 'https'],
      false,
      ['x-forwarded-proto', 'https', 'X-Forwarded-For', '1.1.1.1, 2.2.2.2, 10.0.0.9'],
    ],
  ])('%j, TLS %s', async (headers, secure, expected) =>
    expect(await after(forwarded, exchangeOf('GET', headers, { secure }))).toEqual(expected),
  )
})

describe('hopByHop', () => {
  it.each<[string, string, string[], string[]]>([
    ['states an empty body', 'POST', [], ['Content-Length', '0']],
    ['leaves GET alone', 'GET', [], []],
    ['keeps a length', 'PUT', ['content-length', '5'], ['content-length', '5']],
    ['states chunks anew', 'GET', ['transfer-encoding', 'Chunked'], ['Transfer-Encoding', 'chunked']],
    ['drops what Connection names', 'GET', ['Connection', 'close, X-A', 'X-A', '1', 'X-B', '2'], ['X-B', '2']],
    [
      'keeps what others rely on',
      'GET',
      ['Connection', 'Host, Cookie', 'Host', 'a', 'Cookie', 'b'],
      ['Host', 'a', 'Cookie', 'b'],
    ],
    ['keeps only trailers of TE', 'GET', ['TE', 'deflate, trailers;q=1'], ['TE', 'trailers']],
    ['drops an offer to upgrade', 'GET', ['Connection', 'Upgrade', 'Upgrade', 'websocket'], []],
  ])('%s', async (_name, method, headers, expected) =>
    expect(await after(hopByHop, exchangeOf(method, headers))).toEqual(expected),
  )

  it('keeps the upgrade of a WebSocket', async () => {
    const upgrade = {} as NonNullable<Exchange['upgrade']>
    const exchange = exchangeOf('GET', ['Connection', 'keep-alive, Upgrade', 'Upgrade', 'websocket'], { upgrade })
    expect(await after(hopByHop, exchange)).toEqual(['Connection', 'Upgrade', 'Upgrade', 'websocket'])
  })
})

describe('requestStart and requestId', () => {
  it('say when it came, unless someone in front did', async () => {
    expect(await after(requestStart, exchangeOf('GET', []))).toEqual(['X-Request-Start', '1234'])
    expect(await after(requestStart, exchangeOf('GET', ['x-request-start', '1']))).toEqual(['x-request-start', '1'])
  })
  it('replace the id of the client', async () =>
    expect(await after(requestId, exchangeOf('GET', ['x-vcap-request-id', 'forged']))).toEqual(['X-Vcap-Request-Id', 'id']))
})
