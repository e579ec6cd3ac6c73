import { answer, respond, type AnswerName } from '../answers.js'
import { hostWithoutPort, type Exchange, type Middleware } from '../proxy/exchange.js'

/**
 * Refuses what the parser lets through and endpoints might read differently, and brings the other forms of a target into the
 * ordinary one: an absolute target decides on the host, as RFC 9112 demands; `OPTIONS *` asks about the router itself.
 */
export const strictRequest: Middleware = async (exchange, next) => {
  const { request, headers } = exchange
  if (headers.getAll('host').length > 1) return refuse(exchange, 'badRequest', 'More than one Host header')
  if (headers.has('transfer-encoding')) {
    if (request.httpVersion === '1.0') return refuse(exchange, 'badRequest', 'Transfer-Encoding in an HTTP/1.0 request')
    const codings = headers.getAll('transfer-encoding').map((value) => value.trim().toLowerCase())
    if (codings.length !== 1 || codings[0] !== 'chunked') return refuse(exchange, 'badRequest', 'Unsupported Transfer-Encoding')
  }
  const absolute = /^https?:\/\/([^/?#]*)(.*)$/i.exec(exchange.target)
  if (absolute) {
    exchange.hostHeader = absolute[1] ?? ''
    exchange.host = hostWithoutPort(exchange.hostHeader)
    exchange.target = (absolute[2] ?? '').startsWith('/') ? (absolute[2] ?? '') : `/${absolute[2] ?? ''}`
    headers.set('Host', exchange.hostHeader)
  }
  if (exchange.target === '*' && request.method === 'OPTIONS') return respond(exchange, 200, { 'Content-Length': '0' }, '')
  if (exchange.host === '' || /[\s/\\@?#]/.test(exchange.host)) return refuse(exchange, 'emptyHost')
  return next()
}

/** The connection ends with it: what else the sender wrote may be read differently, too. */
function refuse(exchange: Exchange, name: AnswerName, detail?: string): void {
  exchange.response.shouldKeepAlive = false
  answer(exchange, name, detail)
}
