import type { RouterAnswer } from '../proxy/router-answer.js'
import type { Disposition, Step } from '../proxy/disposition.js'

const USER_AGENT = 'HTTP-Monitor/1.1'

/** Load balancers name themselves by User-Agent and are answered whatever host they ask for: 200 while healthy, 503 while draining. */
export const healthCheck =
  (isHealthy: () => boolean): Step =>
  ({ headers }): Disposition | undefined => {
    if (headers.get('user-agent') !== USER_AGENT) return undefined
    return { do: 'answer', answer: isHealthy() ? HEALTHY : UNHEALTHY }
  }

const healthAnswer = (status: number, reason: string, body: string): RouterAnswer => ({
  status,
  reason,
  headers: ['Cache-Control', 'private, max-age=0', 'Expires', '0', 'Content-Length', String(body.length)],
  body,
  routerError: undefined,
  close: true,
})
const HEALTHY = healthAnswer(200, 'OK', 'ok\n')
const UNHEALTHY = healthAnswer(503, 'Service Unavailable', '')
