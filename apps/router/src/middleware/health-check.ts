import { respond } from '../answers.js'
import type { Middleware } from '../proxy/exchange.js'

const USER_AGENT = 'HTTP-Monitor/1.1'

/** Load balancers name themselves by User-Agent and are answered whatever host they ask for: 200 while healthy, 503 while draining. */
export const healthCheck =
  (isHealthy: () => boolean): Middleware =>
  async (exchange, next) => {
    if (exchange.headers.get('user-agent') !== USER_AGENT) return next()
    const healthy = isHealthy()
    const body = healthy ? 'ok\n' : ''
    exchange.response.shouldKeepAlive = false
    respond(
      exchange,
      healthy ? 200 : 503,
      { 'Cache-Control': 'private, max-age=0', Expires: '0', 'Content-Length': Buffer.byteLength(body) },
      body,
    )
  }
