import { randomUUID } from 'node:crypto'
import { createServer, ServerResponse, type IncomingMessage, type Server, type ServerOptions } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Server as TlsServer } from 'node:tls'
import { Server as NetServer, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Logger } from '@bloomery/telemetry'
import { presentAnswer } from '../answers.js'
import type { DataPlane, FindCertificate } from './data-plane.js'
import { createExchange, type Exchange } from './exchange.js'
import { asPlainRequest, isWebSocketUpgrade } from './upgrade-request.js'

const LIMITS = {
  /** As long as Cloud Foundry's router lets a request head be. */
  maxHeaderSize: 1024 * 1024,
  /** A head must be there after this long, however slowly it trickles. Bodies may take as long as they like while they move. */
  headersTimeout: 30_000,
  requestTimeout: 0,
  connectionsCheckingInterval: 5_000,
  keepAliveTimeout: 900_000,
  // The pipeline refuses it, in the words that clients know.
  requireHostHeader: false,
  insecureHTTPParser: false,
} satisfies ServerOptions

/** The data plane on Node's own HTTP server and client. */
export class NodeDataPlane implements DataPlane {
  readonly #http: Server
  readonly #https: ReturnType<typeof createTlsServer>
  readonly #run: (exchange: Exchange) => Promise<void>
  readonly #log: Logger
  /** Connections that switched protocol: the servers do not know them any more. */
  readonly #switched = new Set<Duplex>()
  #draining = false

  constructor(deps: {
    readonly run: (exchange: Exchange) => Promise<void>
    readonly findCertificate: FindCertificate
    readonly log: Logger
  }) {
    this.#run = deps.run
    this.#log = deps.log
    this.#http = createServer(LIMITS)
    this.#https = createTlsServer({
      ...LIMITS,
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['http/1.1'],
      SNICallback: (name, done) => done(null, deps.findCertificate(name)),
    })
    this.#wire(this.#http, false)
    this.#wire(this.#https, true)
  }

  /** Whether health checks shall be answered with 503. */
  get isDraining(): boolean {
    return this.#draining
  }

  setDefaultCertificate(certificate: { readonly certificatePem: string; readonly privateKeyPem: string }): void {
    const server: TlsServer = this.#https
    server.setSecureContext({ cert: certificate.certificatePem, key: certificate.privateKeyPem, minVersion: 'TLSv1.2' })
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
      for (const socket of this.#switched) socket.destroy()
      for (const server of servers) server.closeAllConnections()
    }, timeoutMs)
    await Promise.all(closed)
    clearInterval(idle)
    clearTimeout(cut)
  }

  #wire(server: Server, secure: boolean): void {
    // Node would drop further lines in silence.
    server.maxHeadersCount = 0
    server.on('request', (request, response) => this.#serve(request, response, { secure }))
    server.on('checkContinue', (request, response) => this.#serve(request, response, { secure, expectsContinue: true }))
    server.on('checkExpectation', (request, response) => this.#serve(request, response, { secure }))
    server.on('upgrade', (request, socket, head) => {
      if (!(socket instanceof Socket)) socket.destroy()
      else if (isWebSocketUpgrade(request)) this.#serveUpgrade(request, socket, head, secure)
      else asPlainRequest(server, request, socket, head)
    })
    server.on('connect', (_request, socket) => refuse(socket, 'CONNECT is not supported'))
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => onClientError(error, socket))
    server.on('connection', (socket) => socket.setNoDelay(true))
  }

  #serve(request: IncomingMessage, response: ServerResponse, facts: { secure: boolean; expectsContinue?: boolean }): void {
    if (this.#draining) response.shouldKeepAlive = false
    this.#start(createExchange(request, response, { ...facts, ...arrival(), upgrade: undefined }))
  }

  #serveUpgrade(request: IncomingMessage, socket: Socket, head: Buffer, secure: boolean): void {
    // The same answers as for other requests; the connection ends after any that is not the switch.
    const response = new ServerResponse(request)
    response.shouldKeepAlive = false
    response.assignSocket(socket)
    response.once('finish', () => socket.end())
    socket.on('error', () => socket.destroy())
    this.#switched.add(socket)
    socket.once('close', () => this.#switched.delete(socket))
    this.#start(createExchange(request, response, { secure, ...arrival(), upgrade: { socket, head } }))
  }

  #start(exchange: Exchange): void {
    this.#run(exchange).catch((error: unknown) => {
      this.#log.error({ err: error }, 'a request failed outside of all steps')
      exchange.response.destroy()
    })
  }
}

const arrival = (): { requestId: string; receivedAt: number } => ({
  requestId: randomUUID(),
  receivedAt: performance.timeOrigin + performance.now(),
})

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
  if (error.code === 'HPE_HEADER_OVERFLOW') {
    socket.end(
      'HTTP/1.1 431 Request Header Fields Too Large\r\nX-Cf-RouterError: max-request-size-exceeded\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
    )
    return
  }
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') writeRaw(socket, 'requestTimeout')
  else refuse(socket, 'Malformed request')
}

const refuse = (socket: Duplex, detail: string): void => writeRaw(socket, 'badRequest', detail)

function writeRaw(socket: Duplex, name: 'badRequest' | 'requestTimeout', detail = ''): void {
  const { status, headers, body } = presentAnswer(name, { host: '', detail })
  const lines = Object.entries(headers).map(([field, value]) => `${field}: ${String(value)}`)
  socket.end(
    [`HTTP/1.1 ${status} ${status === 408 ? 'Request Timeout' : 'Bad Request'}`, ...lines, 'Connection: close', '', body].join(
      '\r\n',
    ),
  )
}
