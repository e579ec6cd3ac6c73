import type { ClientRequest } from 'node:http'
import { hasBody, type Exchange } from './exchange.js'

/** A client that waits for `100 Continue` gets it after this long even if the endpoint is silent about it. */
const CONTINUE_AFTER_MS = 1_000
/** A body of which nothing came for this long, though the endpoint was ready to take it, is given up. */
const BODY_IDLE_MS = 120_000

/** Passes the request's body on as fast as the endpoint takes it, and its trailers after it. */
export function sendRequestBody(exchange: Exchange, call: ClientRequest): void {
  const { request, response, outcome } = exchange
  if (exchange.upgrade) {
    call.end()
    return
  }
  if (!hasBody(exchange.headers)) {
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
    watchIdle(exchange, call)
    request.pipe(call)
  }
  const continueTimer = exchange.expectsContinue ? setTimeout(begin, CONTINUE_AFTER_MS) : undefined
  if (exchange.expectsContinue) {
    call.flushHeaders()
    call.once('continue', begin)
    // A final answer instead of `100 Continue`: the body is not wanted.
    call.once('response', () => clearTimeout(continueTimer))
    call.once('close', () => clearTimeout(continueTimer))
  } else begin()
  request.once('error', () => call.destroy())
}

function watchIdle({ request }: Exchange, call: ClientRequest): void {
  let lastAt = Date.now()
  request.on('data', () => (lastAt = Date.now()))
  const timer = setInterval(() => {
    // Paused means that the endpoint is the slow one; then the client is not to blame.
    if (request.isPaused() || call.writableNeedDrain) lastAt = Date.now()
    else if (Date.now() - lastAt > BODY_IDLE_MS) request.socket.destroy()
  }, BODY_IDLE_MS / 4)
  timer.unref()
  const stop = (): void => clearInterval(timer)
  request.once('end', stop)
  request.once('close', stop)
  call.once('close', stop)
}

const pairs = (flat: readonly string[]): [string, string][] =>
  flat.flatMap((name, i): [string, string][] => (i % 2 === 0 ? [[name, flat[i + 1] ?? '']] : []))
