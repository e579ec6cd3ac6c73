import type { IncomingMessage } from 'node:http'

const MAX_WAIT_MS = 30_000

/**
 * Reads what is left of a refused upload and throws it away, for a while: a client that is still sending when the answer comes
 * and the connection is closed tells its user of a broken connection, and never of the reason.
 */
export function drainBody(request: IncomingMessage): Promise<void> {
  if (request.readableEnded || request.destroyed) return Promise.resolve()
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      for (const event of ['end', 'close', 'error'] as const) request.off(event, done)
      resolve()
    }
    const timer = setTimeout(done, MAX_WAIT_MS)
    for (const event of ['end', 'close', 'error'] as const) request.once(event, done)
    request.unpipe()
    request.resume()
  })
}
