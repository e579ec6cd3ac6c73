import type { ClientRequest } from 'node:http'
import { LIMITS } from '../proxy/limits.js'
import type { PlainCall } from './plain-call.js'

/** Passes the request's body on as fast as the endpoint takes it, and its trailers after it. */
export function sendRequestBody(plain: PlainCall, call: ClientRequest): void {
  const { request, response, exchange } = plain
  const { outcome } = exchange
  if (plain.upgrade) {
    call.end()
    return
  }
  if (!exchange.hasBody) {
    call.end()
    request.resume()
    return
  }
  let begun = false
  const begin = (): void => {
    if (begun || call.destroyed) return
    begun = true
    clearTimeout(continueTimer)
    if (exchange.expectsContinue && !response.headersSent) response.writeContinue()
    request.on('data', (chunk: Buffer) => (outcome.requestBytes += chunk.length))
    request.once('end', () => {
      if (request.rawTrailers.length > 0) call.addTrailers(pairs(request.rawTrailers))
    })
    watchIdle(plain, call)
    request.pipe(call)
  }
  const continueTimer = exchange.expectsContinue ? setTimeout(begin, LIMITS.continueMs) : undefined
  if (exchange.expectsContinue) {
    call.flushHeaders()
    call.once('continue', begin)
    // A final answer instead of `100 Continue`: the body is not wanted.
    call.once('response', () => clearTimeout(continueTimer))
    call.once('close', () => clearTimeout(continueTimer))
  } else begin()
  request.once('error', () => call.destroy())
}

function watchIdle({ request }: PlainCall, call: ClientRequest): void {
  let lastAt = Date.now()
  request.on('data', () => (lastAt = Date.now()))
  const timer = setInterval(() => {
    // Paused means that the endpoint is the slow one; then the client is not to blame.
    if (request.isPaused() || call.writableNeedDrain) lastAt = Date.now()
    else if (Date.now() - lastAt > LIMITS.bodyIdleMs) request.socket.destroy()
  }, LIMITS.bodyIdleMs / 4)
  timer.unref()
  const stop = (): void => clearInterval(timer)
  request.once('end', stop)
  request.once('close', stop)
  call.once('close', stop)
}

const pairs = (flat: readonly string[]): [string, string][] =>
  flat.flatMap((name, i): [string, string][] => (i % 2 === 0 ? [[name, flat[i + 1] ?? '']] : []))
