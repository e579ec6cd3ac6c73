import type { Middleware } from '../proxy/exchange.js'

/** When the request came, in milliseconds since the epoch, unless a proxy in front has said so. */
export const requestStart: Middleware = async (exchange, next) => {
  if (!exchange.headers.has('x-request-start'))
    exchange.headers.append('X-Request-Start', String(Math.floor(exchange.receivedAt)))
  return next()
}
