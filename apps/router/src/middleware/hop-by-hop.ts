import type { Middleware } from '../proxy/exchange.js'
import { removeHopByHop } from '../proxy/hop-by-hop-headers.js'

/** Methods for which a request without any framing still states that its body is empty. */
const USUALLY_WITH_BODY = new Set(['POST', 'PUT', 'PATCH'])

/** Drops the fields that concern the client's connection alone and states the framing towards the endpoint. */
export const hopByHop: Middleware = async (exchange, next) => {
  const { headers, request, upgrade } = exchange
  const chunked = headers.has('transfer-encoding')
  const wantsTrailers = /(^|,)\s*trailers\s*(,|;|$)/i.test(headers.getAll('te').join(','))
  removeHopByHop(headers, { keepTrailer: chunked })
  if (wantsTrailers) headers.append('TE', 'trailers')
  if (chunked) {
    headers.append('Transfer-Encoding', 'chunked')
  } else if (!headers.has('content-length') && USUALLY_WITH_BODY.has(request.method ?? '')) {
    headers.append('Content-Length', '0')
  }
  if (upgrade) {
    headers.append('Connection', 'Upgrade')
    headers.append('Upgrade', 'websocket')
  }
  return next()
}
