import { describe, expect, it } from '@jest/globals'
import { ANSWERS, presentAnswer, type AnswerName } from './answers.js'

describe('presentAnswer', () => {
  it.each<[AnswerName, number, string, string | undefined, string]>([
    ['emptyHost', 400, 'empty_host', 'public,max-age=2', '400 Bad Request: Request had empty Host header\n'],
    [
      'badAppInstance',
      400,
      'invalid_cf_app_instance_header',
      'no-cache, no-store',
      '400 Bad Request: Invalid X-CF-App-Instance Header\n',
    ],
    [
      'badProcessInstance',
      400,
      'invalid_cf_process_instance_header',
      'no-cache, no-store',
      '400 Bad Request: Invalid X-CF-Process-Instance Header\n',
    ],
    [
      'unknownRoute',
      404,
      'unknown_route',
      'no-cache, no-store',
      "404 Not Found: Requested route ('a.test:8080') does not exist.\n",
    ],
    ['unknownInstance', 400, 'unknown_route', 'no-cache, no-store', '400 Bad Request: why\n'],
    [
      'routeServiceUnsupported',
      502,
      'route_service_unsupported',
      undefined,
      '502 Bad Gateway: Support for route services is disabled.\n',
    ],
    ['badRequest', 400, 'bad_request', undefined, '400 Bad Request: why\n'],
    ['requestTimeout', 408, 'request_timeout', undefined, '408 Request Timeout: The request was not sent in time\n'],
    [
      'endpointFailure',
      502,
      'endpoint_failure (why)',
      undefined,
      '502 Bad Gateway: Registered endpoint failed to handle the request.\n',
    ],
    ['unknownFailure', 502, 'unknown_failure', undefined, '502 Bad Gateway: Unexpected failure in the router\n'],
    [
      'routeServiceWebSocket',
      503,
      'route_service_unsupported',
      undefined,
      '503 Service Unavailable: Websocket requests are not supported for routes bound to Route Services.\n',
    ],
    [
      'invalidSignature',
      502,
      'invalid_route_service_signature',
      undefined,
      '502 Bad Gateway: Failed to validate Route Service Signature\n',
    ],
    [
      'expiredSignature',
      504,
      'expired_route_service_signature',
      undefined,
      '504 Gateway Timeout: Failed to validate Route Service Signature: it has expired\n',
    ],
    [
      'connectionLimit',
      503,
      'Connection Limit Reached',
      undefined,
      '503 Service Unavailable: Connection limit reached: each instance has as many requests under way as it may have.\n',
    ],
    [
      'noEndpoints',
      503,
      'no_endpoints',
      'public,max-age=2',
      "503 Service Unavailable: Requested route ('a.test:8080') has no available endpoints.\n",
    ],
    ['identityMismatch', 503, 'endpoint_failure (why)', 'no-cache, no-store', '503 Service Unavailable: service unavailable\n'],
    [
      'untrustedCertificate',
      526,
      'endpoint_failure (why)',
      'no-cache, no-store',
      '526 Invalid SSL Certificate: invalid SSL certificate\n',
    ],
    ['handshakeFailed', 525, 'endpoint_failure (why)', 'no-cache, no-store', '525 SSL Handshake Failed: SSL handshake failed\n'],
    [
      'clientCertificateRefused',
      496,
      'endpoint_failure (why)',
      'no-cache, no-store',
      '496 SSL Certificate Required: SSL certificate required\n',
    ],
  ])('%s', (name, status, routerError, cacheControl, body) => {
    const answer = presentAnswer(name, { host: 'a.test:8080', detail: 'why' })
    expect(answer).toMatchObject({ status, routerError, body })
    expect(answer.headers).toEqual([
      ...(cacheControl === undefined ? [] : ['Cache-Control', cacheControl]),
      'Content-Type',
      'text/plain; charset=utf-8',
      'X-Cf-RouterError',
      routerError,
      'X-Content-Type-Options',
      'nosniff',
      'Content-Length',
      String(Buffer.byteLength(body)),
    ])
  })

  it('has no body where Cloud Foundry has none', () =>
    expect(presentAnswer('headTooLarge', { host: '' })).toMatchObject({
      status: 431,
      body: '',
      headers: ['X-Cf-RouterError', 'max-request-size-exceeded', 'Content-Length', '0'],
    }))

  it('has a row above for each', () => expect(Object.keys(ANSWERS)).toHaveLength(20))

  it('lets nobody write header lines of their own', () =>
    expect(presentAnswer('endpointFailure', { host: '', detail: 'a\r\nSet-Cookie: b' }).routerError).not.toMatch(/[\r\n]/))
})
