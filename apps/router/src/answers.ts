import { STATUS_CODES, type OutgoingHttpHeaders } from 'node:http'
import { CF_ERRORS } from '@bloomery/contracts'
import type { Exchange } from './proxy/exchange.js'

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
}

/** All that the router itself may answer. Clients and test suites match on statuses, `X-Cf-RouterError` and texts. */
export const ANSWERS = {
  emptyHost: { status: 400, routerError: 'empty_host', cacheControl: SHORT_CACHE, message: 'Request had empty Host header' },
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
  badRequest: { status: 400, routerError: 'bad_request', message: '%detail' },
  requestTimeout: { status: 408, routerError: 'request_timeout', message: 'The request was not sent in time' },
  endpointFailure: {
    status: 502,
    routerError: 'endpoint_failure (%detail)',
    message: 'Registered endpoint failed to handle the request.',
  },
  unknownFailure: { status: 502, routerError: 'unknown_failure', message: 'Unexpected failure in the router' },
} as const satisfies Record<string, Answer>
export type AnswerName = keyof typeof ANSWERS

/** What an answer looks like on the wire. */
export function presentAnswer(
  name: AnswerName,
  facts: { readonly host: string; readonly detail?: string },
): { status: number; routerError: string; headers: OutgoingHttpHeaders; body: string } {
  const answer: Answer = ANSWERS[name]
  const fill = (text: string): string =>
    text.replace(/%(host|detail)/g, (_, key: string) => (key === 'host' ? facts.host : (facts.detail ?? '')))
  const body = `${answer.status} ${answer.reason ?? STATUS_CODES[answer.status] ?? ''}: ${fill(answer.message ?? '')}\n`
  const routerError = fill(answer.routerError).replace(/[^\t\x20-\x7e]/g, '?')
  return {
    status: answer.status,
    routerError,
    headers: {
      ...(answer.cacheControl === undefined ? {} : { 'Cache-Control': answer.cacheControl }),
      'Content-Type': 'text/plain; charset=utf-8',
      'X-Cf-RouterError': routerError,
      'X-Content-Type-Options': 'nosniff',
      'Content-Length': Buffer.byteLength(body),
    },
    body,
  }
}

/** Answers in the router's own name. After a head has gone out only the connection can still tell that something failed. */
export function answer(exchange: Exchange, name: AnswerName, detail?: string): void {
  const facts = detail === undefined ? { host: exchange.hostHeader } : { host: exchange.hostHeader, detail }
  const { status, routerError, headers, body } = presentAnswer(name, facts)
  exchange.outcome.routerError = routerError
  respond(exchange, status, headers, body)
}

/** For hosts of the platform: an error in the API's shape, which every client of the API can show. */
export function answerApiAway(exchange: Exchange, detail: string): void {
  const { code, title, status } = CF_ERRORS.ServiceUnavailable
  const body = JSON.stringify({ errors: [{ code, title, detail }] })
  exchange.outcome.routerError = 'api_unavailable'
  respond(
    exchange,
    status,
    {
      'Content-Type': 'application/json; charset=utf-8',
      'Cache-Control': NO_CACHE,
      'Retry-After': '5',
      'X-Cf-RouterError': 'api_unavailable',
      'Content-Length': Buffer.byteLength(body),
    },
    body,
  )
}

/** Sends a whole answer. */
export function respond(exchange: Exchange, status: number, headers: OutgoingHttpHeaders, body: string): void {
  const { request, response, outcome } = exchange
  if (response.headersSent || response.destroyed) {
    response.destroy()
    return
  }
  outcome.status = status
  outcome.responseBytes = request.method === 'HEAD' ? 0 : Buffer.byteLength(body)
  // The rest of a body that nobody reads would be taken for the next request.
  if (!request.complete) response.shouldKeepAlive = false
  response.writeHead(status, headers)
  response.end(body)
}
