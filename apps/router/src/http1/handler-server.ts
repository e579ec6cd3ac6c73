import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Exchange } from '../proxy/exchange.js'
import type { Handler } from '../proxy/handler.js'
import { LIMITS } from '../proxy/limits.js'
import { MemorySocket } from './memory-socket.js'

/** Node's HTTP server at the far end of connections in memory: gives handlers the objects that they work with. */
export class HandlerServer {
  readonly #server: Server
  readonly #calls = new WeakMap<Duplex, { readonly exchange: Exchange; readonly handler: Handler }>()

  constructor() {
    // What arrives here has been read once and written anew.
    this.#server = createServer({
      maxHeaderSize: 2 * LIMITS.maxHeadBytes,
      requireHostHeader: false,
      requestTimeout: 0,
      headersTimeout: 0,
    })
    this.#server.maxHeadersCount = 0
    const serve = (request: IncomingMessage, response: ServerResponse): void => {
      const call = this.#calls.get(request.socket)
      if (!call) throw new Error('a connection without an exchange')
      response.shouldKeepAlive = false
      call.handler(call.exchange, request, response)
    }
    this.#server.on('request', serve)
    this.#server.on('checkContinue', serve)
    this.#server.on('checkExpectation', serve)
  }

  /** A connection on which the next request is given to the handler. */
  open(exchange: Exchange, handler: Handler): Duplex {
    const [near, far] = MemorySocket.pair()
    this.#calls.set(far, { exchange, handler })
    this.#server.emit('connection', far)
    return near
  }

  close(): void {
    this.#server.close()
  }
}
