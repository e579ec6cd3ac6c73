import type { Step } from '../proxy/exchange.js'

/** X-Forwarded-For names the client after those it named itself; X-Forwarded-Proto is a proxy's in front of us, else the listener's. */
export const forwarded: Step = ({ headers, client }) => {
  const named = headers.get('x-forwarded-for')
  if (named === undefined) headers.append('X-Forwarded-For', client.address)
  else headers.set('X-Forwarded-For', [...headers.getAll('x-forwarded-for'), client.address].filter(Boolean).join(', '))
  if (!headers.has('x-forwarded-proto')) headers.append('X-Forwarded-Proto', client.secure ? 'https' : 'http')
  return undefined
}
