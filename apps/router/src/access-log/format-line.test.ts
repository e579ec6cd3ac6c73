import { describe, expect, it } from '@jest/globals'
import { formatAccessLine, formatServed, type AccessRecord } from './format-line.js'

const record: AccessRecord = {
  host: 'app.test',
  receivedAt: Date.UTC(2026, 10, 21, 12, 0, 0, 123) + 0.456,
  finishedAt: Date.UTC(2026, 10, 21, 12, 0, 0, 133) + 0.456,
  backendMs: 7.5,
  method: 'GET',
  target: '/a?b=c',
  protocol: 'HTTP/1.1',
  status: 200,
  requestBytes: 0,
  responseBytes: 13,
  referer: undefined,
  userAgent: 'curl/8',
  client: { address: '127.0.0.1', port: 5000 },
  backend: '10.0.0.2:8080',
  forwardedFor: '127.0.0.1',
  forwardedProto: 'http',
  requestId: 'id',
  served: formatServed({ appGuid: 'app', index: 0, instanceGuid: 'instance' }),
  routerError: undefined,
}

describe('formatAccessLine', () => {
  it('writes the fields in Cloud Foundry’s order', () =>
    expect(formatAccessLine(record)).toBe(
      'app.test - [2026-11-21T12:00:00.123456000Z] "GET /a?b=c HTTP/1.1" 200 0 13 "-" "curl/8" "127.0.0.1:5000" "10.0.0.2:8080" ' +
        'x_forwarded_for:"127.0.0.1" x_forwarded_proto:"http" vcap_request_id:"id" response_time:0.010000 gorouter_time:0.002500 ' +
        'app_id:"app" app_index:"0" instance_id:"instance" x_cf_routererror:"-"',
    ))

  it('writes a dash for what is not known', () => {
    const line = formatAccessLine({
      ...record,
      served: formatServed({ appGuid: 'app', index: undefined, instanceGuid: undefined }),
      status: undefined,
      backend: undefined,
      routerError: 'unknown_route',
    })
    expect(line).toMatch(
      /HTTP\/1\.1" "-" 0 13 .* "127\.0\.0\.1:5000" "-" .*app_index:"-" instance_id:"-" x_cf_routererror:"unknown_route"$/,
    )
  })

  it('lets no request write a line of its own', () => {
    const line = formatAccessLine({ ...record, userAgent: 'a"\n\r\t\\\u0000\u0085\u2028b', host: 'h\nx' })
    expect(line).toContain(String.raw`"a\"\n\r\t\\\u0000\u0085\u2028b"`)
    expect(line).toMatch(/^h\\nx - /)
  })

  it('stays below the log store’s limit', () => {
    const line = formatAccessLine({ ...record, userAgent: 'é'.repeat(60_000) })
    expect(Buffer.byteLength(line)).toBeLessThanOrEqual(60 * 1024)
    expect(line).not.toContain('\uFFFD')
  })
})
