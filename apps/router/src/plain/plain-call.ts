import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { RouterAnswer } from '../proxy/router-answer.js'
import type { Exchange } from '../proxy/exchange.js'

/** An exchange with the objects by which Node serves it. */
export interface PlainCall {
  readonly exchange: Exchange
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** The client's bare connection, and what it has sent beyond the head, where it asks for another protocol. */
  readonly upgrade: { readonly socket: Socket; readonly head: Buffer } | undefined
}

/** Sends an answer of the router's own. After a head has gone out only the connection can still tell that something failed. */
export function writeAnswer({ exchange, request, response }: PlainCall, answer: RouterAnswer): void {
  const { outcome } = exchange
  outcome.routerError = answer.routerError
  if (response.headersSent || response.destroyed) {
    response.destroy()
    return
  }
  outcome.status = answer.status
  outcome.responseBytes = request.method === 'HEAD' ? 0 : Buffer.byteLength(answer.body)
  // The rest of a body that nobody reads would be taken for the next request.
  if (answer.close || !request.complete) response.shouldKeepAlive = false
  response.writeHead(answer.status, answer.reason, [...answer.headers])
  response.end(answer.body)
}
