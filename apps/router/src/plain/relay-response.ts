import { STATUS_CODES, type ClientRequest, type IncomingMessage } from 'node:http'
import { LIMITS } from '../proxy/limits.js'
import { RawHeaders } from '../proxy/raw-headers.js'
import type { PlainCall } from './plain-call.js'

/**
 * Passes the response on as fast as the client takes it. Resolves when it is through, or one side has gone; an endpoint that
 * fails midway ends the client's connection, since nothing else can tell that the body is not whole.
 */
export function relayResponse(
  plain: PlainCall,
  call: ClientRequest,
  incoming: IncomingMessage,
  headers: RawHeaders,
): Promise<void> {
  const { request, response, upgrade } = plain
  const { outcome } = plain.exchange
  const status = incoming.statusCode ?? 502
  outcome.status = status
  if (upgrade) response.shouldKeepAlive = false
  response.writeHead(status, incoming.statusMessage || STATUS_CODES[status] || '', headers.toFlat())
  incoming.on('data', (chunk: Buffer) => (outcome.responseBytes += chunk.length))
  incoming.once('end', () => {
    if (incoming.rawTrailers.length > 0 && response.chunkedEncoding) {
      const trailers = RawHeaders.from(incoming.rawTrailers)
      response.addTrailers(chunkPairs(trailers.toFlat()))
    }
  })
  // A head without a body yet (event streams) must not wait for the first byte; a body that is there already goes out with it.
  const flush = setImmediate(() => {
    if (!response.writableEnded && outcome.responseBytes === 0) response.flushHeaders()
  })
  // Not `stream.pipeline`: its abort signal alone is a tenth of a small request's work.
  return new Promise((resolve) => {
    let settled = false
    const settle = (): void => {
      if (settled) return
      settled = true
      clearImmediate(flush)
      if (response.writableFinished) {
        if (!request.complete && !upgrade) finishRequest(plain, call)
      } else {
        if (!incoming.complete) call.destroy()
        response.destroy()
      }
      resolve()
    }
    incoming.once('error', () => undefined)
    incoming.once('close', () => {
      if (incoming.complete) return
      if (!response.destroyed) outcome.routerError ??= 'endpoint_failure (response cut off)'
      response.destroy()
    })
    response.once('error', () => undefined)
    response.once('finish', settle)
    response.once('close', settle)
    incoming.pipe(response)
  })
}

/** The answer is out and the client still sends: stop passing it on, read a while, then close. */
function finishRequest({ request }: PlainCall, call: ClientRequest): void {
  request.unpipe(call)
  call.destroy()
  request.resume()
  const timer = setTimeout(() => request.socket.destroy(), LIMITS.lingerMs)
  request.once('close', () => clearTimeout(timer))
  request.once('end', () => clearTimeout(timer))
}

const chunkPairs = (flat: readonly string[]): [string, string][] =>
  flat.flatMap((name, i): [string, string][] => (i % 2 === 0 ? [[name, flat[i + 1] ?? '']] : []))
