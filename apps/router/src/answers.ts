import { STATUS_CODES } from 'node:http'
import { CF_ERRORS } from '@bloomery/contracts'
import type { Disposition } from './proxy/disposition.js'
import type { RouterAnswer } from './proxy/router-answer.js'

const NO_CACHE = 'no-cache, no-store'
const SHORT_CACHE = 'public,max-age=2'

interface Answer {
  readonly status: number
  /** Value of X-Cf-RouterError. */
  readonly routerError: string
  readonly cacheControl?: string
  /** Absent: no body. */
  readonly message?: string
  /** Reason phrase where Node knows none. */
  readonly reason?: string
  /** The connection ends with it: what else the sender wrote may be read differently, too. */
  readonly close?: true
}

/** All that the router itself may answer. Clients and test suites match on statuses, `X-Cf-RouterError` and texts. */
export const ANSWERS = {
  emptyHost: {
    status: 400,
    routerError: 'empty_host',
    cacheControl: SHORT_CACHE,
    message: 'Request had empty Host header',
    close: true,
  },
  badAppInstance: {
    status: 400,
    routerError: 'invalid_cf_app_instance_header',
    cacheControl: NO_CACHE,
    message: 'Invalid X-CF-App-Instance Header',
  },
  badProcessInstance: {
    status: 400,
    routerError: 'invalid_cf_process_instance_header',
    cacheControl: NO_CACHE,
    message: 'Invalid X-CF-Process-Instance Header',
  },
  unknownRoute: {
    status: 404,
    routerError: 'unknown_route',
    cacheControl: NO_CACHE,
    message: "Requested route ('%host') does not exist.",
  },
  unknownInstance: { status: 400, routerError: 'unknown_route', cacheControl: NO_CACHE, message: '%detail' },
  routeServiceUnsupported: {
    status: 502,
    routerError: 'route_service_unsupported',
    message: 'Support for route services is disabled.',
  },
  routeServiceWebSocket: {
    status: 503,
    routerError: 'route_service_unsupported',
    message: 'Websocket requests are not supported for routes bound to Route Services.',
  },
  invalidSignature: {
    status: 502,
    routerError: 'invalid_route_service_signature',
    message: 'Failed to validate Route Service Signature',
  },
  expiredSignature: {
    status: 504,
    routerError: 'expired_route_service_signature',
    message: 'Failed to validate Route Service Signature: it has expired',
  },
  connectionLimit: {
    status: 503,
    routerError: 'Connection Limit Reached',
    message: 'Connection limit reached: each instance has as many requests under way as it may have.',
  },
  badRequest: { status: 400, routerError: 'bad_request', message: '%detail', close: true },
  headTooLarge: { status: 431, routerError: 'max-request-size-exceeded', close: true },
  requestTimeout: { status: 408, routerError: 'request_timeout', message: 'The request was not sent in time', close: true },
  noEndpoints: {
    status: 503,
    routerError: 'no_endpoints',
    cacheControl: SHORT_CACHE,
    message: "Requested route ('%host') has no available endpoints.",
  },
  identityMismatch: {
    status: 503,
    routerError: 'endpoint_failure (%detail)',
    cacheControl: NO_CACHE,
    message: 'service unavailable',
  },
  untrustedCertificate: {
    status: 526,
    reason: 'Invalid SSL Certificate',
    routerError: 'endpoint_failure (%detail)',
    cacheControl: NO_CACHE,
    message: 'invalid SSL certificate',
  },
  handshakeFailed: {
    status: 525,
    reason: 'SSL Handshake Failed',
    routerError: 'endpoint_failure (%detail)',
    cacheControl: NO_CACHE,
    message: 'SSL handshake failed',
  },
  clientCertificateRefused: {
    status: 496,
    reason: 'SSL Certificate Required',
    routerError: 'endpoint_failure (%detail)',
    cacheControl: NO_CACHE,
    message: 'SSL certificate required',
  },
  endpointFailure: {
    status: 502,
    routerError: 'endpoint_failure (%detail)',
    message: 'Registered endpoint failed to handle the request.',
  },
  unknownFailure: { status: 502, routerError: 'unknown_failure', message: 'Unexpected failure in the router' },
} as const satisfies Record<string, Answer>
export type AnswerName = keyof typeof ANSWERS

/** What an answer looks like on the wire. */
export function presentAnswer(name: AnswerName, facts: { readonly host: string; readonly detail?: string }): RouterAnswer {
  const answer: Answer = ANSWERS[name]
  const fill = (text: string): string =>
    text.replace(/%(host|detail)/g, (_, key: string) => (key === 'host' ? facts.host : (facts.detail ?? '')))
  const reason = answer.reason ?? STATUS_CODES[answer.status] ?? ''
  const routerError = fill(answer.routerError).replace(/[^\t\x20-\x7e]/g, '?')
  const message = answer.message === undefined ? undefined : fill(answer.message)
  const body = message === undefined ? '' : `${answer.status} ${reason}: ${message}\n`
  return {
    status: answer.status,
    reason,
    routerError,
    close: answer.close ?? false,
    ...(message === undefined ? {} : { message }),
    headers: [
      ...(answer.cacheControl === undefined ? [] : ['Cache-Control', answer.cacheControl]),
      ...(body === '' ? [] : ['Content-Type', 'text/plain; charset=utf-8']),
      'X-Cf-RouterError',
      routerError,
      ...(body === '' ? [] : ['X-Content-Type-Options', 'nosniff']),
      'Content-Length',
      String(Buffer.byteLength(body)),
    ],
    body,
  }
}

/** A decision to answer in the router's own name. */
export const answerWith = (
  name: AnswerName,
  exchange: { readonly hostHeader: string },
  detail?: string,
): Extract<Disposition, { do: 'answer' }> => ({
  do: 'answer',
  answer: presentAnswer(name, detail === undefined ? { host: exchange.hostHeader } : { host: exchange.hostHeader, detail }),
})

/** For hosts of the platform: an error in the API's shape, which every client of the API can show. */
export function apiAwayAnswer(detail: string): RouterAnswer {
  const { code, title, status } = CF_ERRORS.ServiceUnavailable
  const body = JSON.stringify({ errors: [{ code, title, detail }] })
  return {
    status,
    reason: STATUS_CODES[status] ?? '',
    routerError: 'api_unavailable',
    close: false,
    headers: [
      'Content-Type',
      'application/json; charset=utf-8',
      'Cache-Control',
      NO_CACHE,
      'Retry-After',
      '5',
      'X-Cf-RouterError',
      'api_unavailable',
      'Content-Length',
      String(Buffer.byteLength(body)),
    ],
    body,
  }
}
