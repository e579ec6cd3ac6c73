import type { Middleware } from '../proxy/exchange.js'

/** X-Forwarded-For names the client after those it named itself; X-Forwarded-Proto is a proxy's in front of us, else the listener's. */
export const forwarded: Middleware = async (exchange, next) => {
  const { headers, clientAddress, secure } = exchange
  headers.set('X-Forwarded-For', [...headers.getAll('x-forwarded-for'), clientAddress].filter(Boolean).join(', '))
  if (!headers.has('x-forwarded-proto')) headers.append('X-Forwarded-Proto', secure ? 'https' : 'http')
  return next()
}
