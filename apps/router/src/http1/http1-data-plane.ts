import { createHash } from 'node:crypto'
import { createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, DEFAULT_CIPHERS, TLSSocket, type Server as TlsServer } from 'node:tls'
import { plainPage } from '../error-pages/error-page.js'
import type { DataPlane, DataPlaneDeps } from '../proxy/data-plane.js'
import { ClientCounts } from '../proxy/client-counts.js'
import type { ClientConnection } from '../proxy/exchange.js'
import { LIMITS, type Limits } from '../proxy/limits.js'
import { takeProxyHeader } from '../tls/proxy-protocol.js'
import { ClientChannel, type ClientChannelDeps } from './client-channel.js'
import { CoarseClock } from './clock.js'
import { EndpointChannel } from './endpoint-channel.js'
import { EndpointPool } from './endpoint-pool.js'
import { HandlerServer } from './handler-server.js'

/** Deadlines are looked at this often; what waits is over at most so much too late. */
const TICK_MS = 500
const HANDSHAKE_MS = 10_000
const IDLE_LOOK_MS = 50
/** Load balancers send the header at once; gone round the world it is there after this long. */
const PROXY_HEADER_MS = 1_000

/**
 * As Node has them, but of TLS 1.3 first the one by SHA-256, which processors have instructions for: a handshake derives some twenty keys
 * by it.
 */
const CIPHERS = [...new Set(['TLS_AES_128_GCM_SHA256', ...DEFAULT_CIPHERS.split(':')])].join(':')

/** The data plane for HTTP/1.1 on bare sockets. */
export class Http1DataPlane implements DataPlane {
  readonly #http: Server
  readonly #https: TlsServer
  readonly #channels = new Set<ClientChannel>()
  /** What carries TLS, from before the handshake on. */
  readonly #underTls = new Set<Socket>()
  readonly #limits: Limits
  readonly #clients: ClientCounts
  readonly #clock: CoarseClock
  readonly #pool: EndpointPool
  readonly #handlers = new HandlerServer()
  readonly #channelDeps: ClientChannelDeps
  #draining = false
  /** Clients that load balancers name, by the load balancer's own address. */
  readonly #proxied = new Map<string, { readonly address: string; readonly port: number }>()
  readonly #httpsListener: Server
  readonly #minTlsVersion: 'TLSv1.2' | 'TLSv1.3'
  readonly #sessionIdContext: string
  #ticketKeys: Buffer | undefined
  #onEmpty: (() => void) | undefined

  constructor(private readonly deps: DataPlaneDeps) {
    this.#clock = new CoarseClock(TICK_MS, () => this.#tick())
    this.#limits = deps.limits ?? LIMITS
    this.#clients = new ClientCounts(this.#limits.maxConnectionsPerClient)
    this.#pool = new EndpointPool(this.#clock, this.#limits, deps.instanceTls)
    this.#channelDeps = {
      decide: deps.decide,
      record: deps.record,
      log: deps.log,
      clock: this.#clock,
      limits: this.#limits,
      errorPage: deps.errorPage ?? plainPage,
      acquire: (target, reuse) => this.#pool.acquire(target, reuse),
      openHandler: (exchange, handler) =>
        new EndpointChannel('', this.#handlers.open(exchange, handler), false, {
          onIdle: (channel) => channel.destroy(),
          onClosed: () => undefined,
        }),
      isDraining: () => this.#draining,
      onClosed: (channel) => this.#onClosed(channel),
    }
    const { minTlsVersion = 'TLSv1.2', clientCertificates } = deps.listener ?? {}
    this.#minTlsVersion = minTlsVersion
    // Workers resume each other's sessions, but none that began under other rules.
    this.#sessionIdContext = digestOf(JSON.stringify([minTlsVersion, clientCertificates ?? null]))
    this.#http = this.#listener((socket) => {
      this.#accept(socket, false)
      // It was held while its first bytes were looked at.
      if (deps.listener?.proxyProtocol === true) socket.resume()
    })
    this.#httpsListener = this.#listener((socket) => {
      const begin = (): void => void this.#https.emit('connection', socket)
      if (deps.acmeHandshakes?.isExpecting === true) deps.acmeHandshakes.take(socket, begin)
      else begin()
    })
    this.#https = createTlsServer({
      allowHalfOpen: true,
      noDelay: true,
      minVersion: minTlsVersion,
      ciphers: CIPHERS,
      handshakeTimeout: HANDSHAKE_MS,
      sessionIdContext: this.#sessionIdContext,
      ALPNProtocols: deps.http2 ? ['h2', 'http/1.1'] : ['http/1.1'],
      SNICallback: (name, done) => done(null, deps.findCertificate(name)),
      ...(clientCertificates
        ? { requestCert: true, rejectUnauthorized: clientCertificates.required, ca: clientCertificates.ca }
        : {}),
    })
    this.#https.on('connection', (socket: Socket) => {
      this.#underTls.add(socket)
      socket.once('close', () => this.#underTls.delete(socket))
    })
    this.#https.on('tlsClientError', (_error, socket) => socket.destroy())
    this.#https.on('secureConnection', (socket) => this.#acceptSecure(socket))
  }

  get openConnections(): number {
    return this.#channels.size
  }

  get isDraining(): boolean {
    return this.#draining
  }

  async listen({ httpFd, httpsFd }: { readonly httpFd: number; readonly httpsFd: number }): Promise<void> {
    await Promise.all([listenOn(this.#http, httpFd), listenOn(this.#httpsListener, httpsFd)])
  }

  setDefaultCertificate(certificate: { readonly certificatePem: string; readonly privateKeyPem: string }): void {
    const ca = this.deps.listener?.clientCertificates?.ca
    this.#https.setSecureContext({
      cert: certificate.certificatePem,
      key: certificate.privateKeyPem,
      minVersion: this.#minTlsVersion,
      ciphers: CIPHERS,
      sessionIdContext: this.#sessionIdContext,
      ...(this.#ticketKeys ? { ticketKeys: this.#ticketKeys } : {}),
      ...(ca === undefined ? {} : { ca }),
    })
  }

  setTicketKeys(keys: Buffer): void {
    this.#ticketKeys = keys
    this.#https.setTicketKeys(keys)
  }

  forget(poolKey: string): void {
    this.#pool.forget(poolKey)
  }

  announceDrain(): void {
    this.#draining = true
    this.deps.http2?.announceDrain()
  }

  async close(timeoutMs: number, idleGraceMs: number): Promise<void> {
    this.#draining = true
    const servers = [this.#http, this.#httpsListener]
    const closed = servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())))
    const idleFrom = Date.now() + Math.min(idleGraceMs, timeoutMs)
    const idle = setInterval(() => {
      if (Date.now() >= idleFrom) for (const channel of this.#channels) channel.closeIfIdle()
    }, IDLE_LOOK_MS)
    const cut = setTimeout(() => {
      for (const channel of [...this.#channels]) channel.destroy()
      for (const socket of this.#underTls) socket.destroy()
    }, timeoutMs)
    const empty = new Promise<void>((resolve) => {
      this.#onEmpty = resolve
      if (this.#channels.size === 0) resolve()
    })
    await Promise.all([empty, this.deps.http2?.close(timeoutMs), ...closed])
    clearInterval(idle)
    clearTimeout(cut)
    this.#clock.stop()
    this.#pool.close()
    this.#handlers.close()
  }

  /** Connections as they are, or with the client that a load balancer names. */
  #listener(accept: (socket: Socket) => void): Server {
    if (this.deps.listener?.proxyProtocol !== true)
      return createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
        if (this.#admit(socket)) accept(socket)
      })
    return createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      takeProxyHeader(socket, PROXY_HEADER_MS, (client) => {
        if (client) {
          // TLS has a socket object of its own over the same connection.
          const key = connectionKey(socket)
          this.#proxied.set(key, client)
          socket.once('close', () => this.#proxied.delete(key))
        }
        if (this.#admit(socket)) accept(socket)
      })
    })
  }

  /** Whether one more connection of this client is within the limit; it counts until it is closed, handshake included. */
  #admit(socket: Socket): boolean {
    const { address } = this.#clientOf(socket)
    if (!this.#clients.enter(address)) {
      socket.destroy()
      return false
    }
    socket.once('close', () => this.#clients.leave(address))
    return true
  }

  /** The client as a load balancer names it, else as the connection does. */
  #clientOf(socket: Socket): { readonly address: string; readonly port: number } {
    const proxied = this.#proxied.size > 0 ? this.#proxied.get(connectionKey(socket)) : undefined
    if (proxied) return proxied
    const { remoteAddress = '', remotePort = 0 } = socket
    return { address: remoteAddress.startsWith('::ffff:') ? remoteAddress.slice(7) : remoteAddress, port: remotePort }
  }

  #acceptSecure(socket: TLSSocket): void {
    if (socket.alpnProtocol === 'h2' && this.deps.http2) {
      socket.on('error', () => socket.destroy())
      this.deps.http2.accept(socket, this.#clientOf(socket), this.#clients)
    } else this.#accept(socket, true)
  }

  #accept(socket: Socket, secure: boolean): void {
    const { address, port } = this.#clientOf(socket)
    const certificate = this.deps.listener?.clientCertificates && secure ? certificateOf(socket) : undefined
    const facts: ClientConnection = { secure, address, port, ...(certificate ? { certificate } : {}) }
    this.#channels.add(new ClientChannel(socket, facts, this.#channelDeps))
  }

  #onClosed(channel: ClientChannel): void {
    if (!this.#channels.delete(channel)) return
    if (this.#channels.size === 0) this.#onEmpty?.()
  }

  #tick(): void {
    const { now } = this.#clock
    for (const channel of this.#channels) if (channel.deadline < now) channel.expire()
    this.#pool.tick()
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

/** At most 32 characters are taken. */
const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 32)

const connectionKey = ({ remoteAddress = '', remotePort = 0 }: Socket): string => `${remoteAddress} ${remotePort}`

/** The certificate that a client has shown and that our authorities vouch for. */
function certificateOf(socket: Socket): Buffer | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined
  return socket.getPeerX509Certificate()?.raw
}
