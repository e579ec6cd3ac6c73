import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Exchange } from './exchange.js'

/**
 * Serves a request by Node's own HTTP objects: for what the fast way does not do (another protocol towards the endpoint, a detour
 * over a service). `request` has the head as the steps left it and the body; what is written to `response` passes through the data
 * plane like an endpoint's answer, which adds and removes what it does for those. The handler tells the access log through
 * `exchange.outcome` (endpoint, backend, routerError, attempts). It may destroy the response's connection to say that the answer
 * is broken; an answer of the router's own is written with `writeAnswer`.
 */
export type Handler = (exchange: Exchange, request: IncomingMessage, response: ServerResponse) => void
