import { randomUUID } from 'node:crypto'
import { createServer, ServerResponse, type IncomingMessage, type Server, type ServerOptions } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Server as TlsServer } from 'node:tls'
import { Server as NetServer, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { presentAnswer } from '../answers.js'
import type { DataPlane, DataPlaneDeps } from '../proxy/data-plane.js'
import { Exchange } from '../proxy/exchange.js'
import { LIMITS } from '../proxy/limits.js'
import { RawHeaders } from '../proxy/raw-headers.js'
import { upgradeProtocol } from '../proxy/upgrade.js'
import { Connections } from './connections.js'
import { writeAnswer, type PlainCall } from './plain-call.js'
import { forward } from './forward.js'
import { asPlainRequest } from './upgrade-request.js'

const OPTIONS = {
  maxHeaderSize: LIMITS.maxHeadBytes,
  headersTimeout: LIMITS.headMs,
  // Bodies may take as long as they like while they move.
  requestTimeout: 0,
  connectionsCheckingInterval: 5_000,
  keepAliveTimeout: LIMITS.idleMs,
  // The pipeline refuses it, in the words that clients know.
  requireHostHeader: false,
  insecureHTTPParser: false,
} satisfies ServerOptions

/** The data plane on Node's own HTTP server and client: slow, and what the fast one is compared with. */
export class NodeDataPlane implements DataPlane {
  readonly #http: Server
  readonly #https: ReturnType<typeof createTlsServer>
  readonly #deps: DataPlaneDeps
  readonly #connections = new Connections()
  /** Connections that switched protocol: the servers do not know them any more. */
  readonly #open = new Set<Duplex>()
  #draining = false

  constructor(deps: DataPlaneDeps) {
    this.#deps = deps
    this.#http = createServer(OPTIONS)
    this.#https = createTlsServer({
      ...OPTIONS,
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['http/1.1'],
      SNICallback: (name, done) => done(null, deps.findCertificate(name)),
    })
    this.#wire(this.#http, false)
    this.#wire(this.#https, true)
  }

  get openConnections(): number {
    return this.#open.size
  }

  get isDraining(): boolean {
    return this.#draining
  }

  setDefaultCertificate(certificate: { readonly certificatePem: string; readonly privateKeyPem: string }): void {
    const server: TlsServer = this.#https
    server.setSecureContext({ cert: certificate.certificatePem, key: certificate.privateKeyPem, minVersion: 'TLSv1.2' })
  }

  forget(poolKey: string): void {
    this.#connections.forget(poolKey)
  }

  async listen({ httpFd, httpsFd }: { readonly httpFd: number; readonly httpsFd: number }): Promise<void> {
    await Promise.all([listenOn(this.#http, httpFd), listenOn(this.#https, httpsFd)])
  }

  announceDrain(): void {
    this.#draining = true
  }

  async close(timeoutMs: number, idleGraceMs: number): Promise<void> {
    this.#draining = true
    const servers = [this.#http, this.#https]
    // Not the HTTP server's own close: it ends idle connections at once, on which the next request may be under way.
    const closed = servers.map(
      (server) =>
        new Promise<void>((resolve) => (server.listening ? NetServer.prototype.close.call(server, () => resolve()) : resolve())),
    )
    const idleFrom = Date.now() + Math.min(idleGraceMs, timeoutMs)
    const idle = setInterval(() => {
      if (Date.now() >= idleFrom) for (const server of servers) server.closeIdleConnections()
    }, 50)
    const cut = setTimeout(() => {
      // Node's server forgets the ones that it hands over: upgrades, and CONNECT even when that is refused.
      for (const socket of this.#open) socket.destroy()
    }, timeoutMs)
    await Promise.all(closed)
    clearInterval(idle)
    clearTimeout(cut)
    this.#connections.close()
  }

  #wire(server: Server, secure: boolean): void {
    // Node would drop further lines in silence.
    server.maxHeadersCount = 0
    const serve = (request: IncomingMessage, response: ServerResponse): void => {
      if (this.#draining) response.shouldKeepAlive = false
      this.#start({ exchange: this.#exchangeOf(request, secure), request, response, upgrade: undefined })
    }
    server.on('request', serve)
    server.on('checkContinue', serve)
    server.on('checkExpectation', serve)
    server.on('upgrade', (request, socket, head) => {
      const { method = 'GET', httpVersion, rawHeaders } = request
      // Node hands it over even while an earlier request on the connection is unanswered.
      if (!(socket instanceof Socket) || (socket as { readonly _httpMessage?: unknown })._httpMessage) socket.destroy()
      else if (upgradeProtocol({ method, httpVersion, headers: RawHeaders.from(rawHeaders) }) !== undefined)
        this.#serveUpgrade(request, socket, head, secure)
      else asPlainRequest(server, request, socket, head)
    })
    server.on('connect', (_request, socket) => refuse(socket, 'CONNECT is not supported'))
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => onClientError(error, socket))
    server.on('connection', (socket) => {
      socket.setNoDelay(true)
      this.#open.add(socket)
      socket.once('close', () => this.#open.delete(socket))
    })
  }

  #exchangeOf(request: IncomingMessage, secure: boolean): Exchange {
    const { method = 'GET', url = '/', httpVersion, rawHeaders, socket } = request
    return new Exchange(
      { method, target: url, httpVersion, headers: RawHeaders.from(rawHeaders) },
      { secure, address: (socket.remoteAddress ?? '').replace(/^::ffff:/, ''), port: socket.remotePort ?? 0 },
      randomUUID(),
      performance.timeOrigin + performance.now(),
    )
  }

  #serveUpgrade(request: IncomingMessage, socket: Socket, head: Buffer, secure: boolean): void {
    // The same answers as for other requests; the connection ends after any that is not the switch.
    const response = new ServerResponse(request)
    response.shouldKeepAlive = false
    response.assignSocket(socket)
    response.once('finish', () => socket.end())
    socket.on('error', () => socket.destroy())
    this.#start({ exchange: this.#exchangeOf(request, secure), request, response, upgrade: { socket, head } })
  }

  #start(plain: PlainCall): void {
    const { exchange } = plain
    this.#serve(plain)
      .catch((error: unknown) => {
        this.#deps.log.error({ err: error, requestId: exchange.requestId }, 'unexpected failure while serving a request')
        writeAnswer(plain, presentAnswer('unknownFailure', { host: exchange.hostHeader }))
      })
      .finally(() => this.#deps.record(exchange, performance.timeOrigin + performance.now()))
      .catch((error: unknown) => this.#deps.log.error({ err: error }, 'a request could not be recorded'))
  }

  async #serve(plain: PlainCall): Promise<void> {
    const disposition = this.#deps.decide(plain.exchange)
    switch (disposition.do) {
      case 'answer':
        return writeAnswer(plain, disposition.answer)
      case 'forward':
        return forward(plain, disposition.forwarding, this.#connections)
      case 'handle':
        disposition.handler(plain.exchange, plain.request, plain.response)
        if (!plain.response.closed) await new Promise((resolve) => plain.response.once('close', resolve))
    }
  }
}

const listenOn = (server: Server, fd: number): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ fd }, () => {
      server.off('error', reject)
      resolve()
    })
  })

/** What cannot be read as a request is refused, and the connection ends: nobody knows where the next request would begin. */
function onClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  if (error.code === 'HPE_HEADER_OVERFLOW') writeRaw(socket, 'headTooLarge')
  else if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') writeRaw(socket, 'requestTimeout')
  else refuse(socket, 'Malformed request')
}

const refuse = (socket: Duplex, detail: string): void => writeRaw(socket, 'badRequest', detail)

function writeRaw(socket: Duplex, name: 'badRequest' | 'requestTimeout' | 'headTooLarge', detail = ''): void {
  if (!socket.writable) {
    socket.destroy()
    return
  }
  const { status, reason, headers, body } = presentAnswer(name, { host: '', detail })
  socket.end(`HTTP/1.1 ${status} ${reason}\r\n${RawHeaders.from(headers).toLines()}Connection: close\r\n\r\n${body}`)
  // Nobody else reads it any more; unread, its end would never be seen.
  socket.resume()
}
