import { describe, expect, it } from '@jest/globals'
import { Exchange } from '../proxy/exchange.js'
import { RawHeaders } from '../proxy/raw-headers.js'
import { acmeChallenge } from './acme-challenge.js'
import { clientCertificate, type ClientCertificatePolicy } from './client-certificate.js'
import { tracing, type Tracing } from './tracing.js'

const exchangeWith = (flat: string[], certificate?: Buffer): Exchange =>
  new Exchange(
    { method: 'GET', target: '/', httpVersion: '1.1', headers: RawHeaders.from(['Host', 'a.test', ...flat]) },
    { secure: true, address: '192.0.2.1', port: 1, ...(certificate ? { certificate } : {}) },
    'id',
    0,
  )

describe('X-Forwarded-Client-Cert', () => {
  const shown = Buffer.from('certificate')
  it.each<[ClientCertificatePolicy, boolean, boolean, string | undefined]>([
    ['always_forward', false, false, 'given'],
    ['always_forward', true, false, 'given'],
    ['forward', false, false, undefined],
    ['forward', true, false, 'given'],
    ['forward', true, true, undefined],
    ['sanitize_set', false, false, undefined],
    ['sanitize_set', true, false, shown.toString('base64')],
    ['sanitize_set', true, true, 'given'],
  ])('%s, certificate shown %s, from a route service %s: %s', (policy, hasCertificate, returning, expected) => {
    const exchange = exchangeWith(
      ['X-Forwarded-Client-Cert', 'given', ...(returning ? ['X-CF-Proxy-Signature', 's'] : [])],
      hasCertificate ? shown : undefined,
    )
    clientCertificate(policy, () => true)(exchange)
    expect(exchange.headers.get('x-forwarded-client-cert')).toBe(expected)
  })

  it('is not kept for a signature that somebody made up', () => {
    const exchange = exchangeWith(['X-Forwarded-Client-Cert', 'given', 'X-CF-Proxy-Signature', 's'])
    clientCertificate('sanitize_set', () => false)(exchange)
    expect(exchange.headers.has('x-forwarded-client-cert')).toBe(false)
  })
})

describe('challenges of certificate authorities', () => {
  const step = acmeChallenge(() => [{ name: 'a.test', token: 't1', type: 'http-01', keyAuthorization: 't1.key' }])
  const at = (target: string) => {
    const exchange = exchangeWith([])
    exchange.target = target
    return step(exchange)
  }
  it('are answered for the name that is ordered for; all else is the apps’', () => {
    expect(at('/.well-known/acme-challenge/t1')).toMatchObject({ do: 'answer', answer: { status: 200, body: 't1.key' } })
    expect(at('/.well-known/acme-challenge/t2')).toBeUndefined()
    expect(at('/t1')).toBeUndefined()
    const other = exchangeWith([])
    other.target = '/.well-known/acme-challenge/t1'
    other.host = 'b.test'
    expect(step(other)).toBeUndefined()
  })
})

describe('trace headers', () => {
  const trace = '0af7651916cd43dd8448eb211c80319c'
  const run = (kind: Tracing, flat: string[]): Exchange => {
    const exchange = exchangeWith(flat)
    tracing(kind, 'bloomery')?.(exchange)
    return exchange
  }

  it('are nobody’s where the operator wants none', () => expect(tracing('none', 't')).toBeUndefined())

  it('begin a trace, which gives the request its id', () => {
    const { headers, requestId } = run('both', [])
    const [, id = ''] = /^00-([0-9a-f]{32})-[0-9a-f]{16}-01$/.exec(headers.get('traceparent') ?? '') ?? []
    expect(requestId.replaceAll('-', '')).toBe(id)
    expect(headers.get('x-b3-traceid')).toBe(id)
    expect(headers.get('b3')).toBe(`${id}-${headers.get('x-b3-spanid') ?? ''}`)
    expect(headers.get('tracestate')).toMatch(/^bloomery=[0-9a-f]{16}$/)
  })

  it('go on with a trace: a new parent, our tenant first', () => {
    const { headers } = run('w3c', ['traceparent', `00-${trace}-b7ad6b7169203331-00`, 'tracestate', 'other=1,bloomery=old'])
    expect(headers.get('traceparent')).toMatch(new RegExp(`^00-${trace}-(?!b7ad6b7169203331)[0-9a-f]{16}-00$`))
    expect(headers.get('tracestate')).toMatch(/^bloomery=[0-9a-f]{16},other=1$/)
    expect(headers.has('x-b3-traceid')).toBe(false)
  })

  it.each(['', `00-${'0'.repeat(32)}-b7ad6b7169203331-00`, `ff-${trace}-b7ad6b7169203331-00`, 'nonsense'])(
    'begin anew on %j',
    (given) => {
      const { headers } = run('w3c', ['traceparent', given, 'tracestate', 'other=1'])
      expect(headers.get('traceparent')).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
      expect(headers.get('tracestate')).not.toContain('other')
    },
  )

  it('of B3 are left to the client', () => {
    const { headers, requestId } = run('b3', ['X-B3-TraceId', trace, 'X-B3-SpanId', 'b7ad6b7169203331'])
    expect([headers.get('x-b3-traceid'), headers.get('x-b3-spanid'), headers.has('traceparent')]).toEqual([
      trace,
      'b7ad6b7169203331',
      false,
    ])
    expect(requestId.replaceAll('-', '')).toBe(trace)
  })
})
