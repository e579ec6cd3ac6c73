import type { Step } from '../proxy/disposition.js'

/** When the request came, in milliseconds since the epoch, unless a proxy in front has said so. */
export const requestStart: Step = ({ headers, receivedAt }) => {
  if (!headers.has('x-request-start')) headers.append('X-Request-Start', String(Math.floor(receivedAt)))
  return undefined
}
