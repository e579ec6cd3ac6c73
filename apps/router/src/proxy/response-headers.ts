import { removeHopByHop } from './hop-by-hop-headers.js'
import type { Exchange } from './exchange.js'
import type { RawHeaders } from './raw-headers.js'

/** Makes an endpoint's fields those that the client shall see. */
export function toClientHeaders(exchange: Exchange, headers: RawHeaders): void {
  removeHopByHop(headers, { keepTrailer: true })
  headers.remove('x-cf-proxy-signature')
  if (!headers.has('x-vcap-request-id')) headers.append('X-Vcap-Request-Id', exchange.requestId)
  if (exchange.toldBy === undefined) return
  headers.set('X-Vcap-Router', exchange.toldBy)
  headers.set('X-Vcap-Backend', exchange.outcome.backend ?? '')
  headers.set('X-Cf-RouteEndpoint', exchange.outcome.backend ?? '')
}
