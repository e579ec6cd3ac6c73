import { connect, type AddressInfo, type Socket } from 'node:net'
import { createSecureContext, createServer, type SecureContext, type Server, type TLSSocket } from 'node:tls'
import type { NodeIdentity } from '@bloomery/contracts'
import { peerOf, serverTlsOptions } from '@bloomery/pki'
import type { Logger } from '@bloomery/telemetry'
import type { InstanceCertificates, InstancePair } from './instance-certificates.js'

const HANDSHAKE_MS = 10_000
const DIAL_MS = 5_000
const KEEP_ALIVE_MS = 60_000

export interface TlsForwarderDeps {
  readonly listen: { readonly host: string; readonly port: number }
  readonly identity: () => NodeIdentity
  readonly certificates: Pick<InstanceCertificates, 'get'>
  /** Where an instance of this cell listens; undefined for strangers, and for ports that it does not have. */
  readonly addressOf: (instanceGuid: string, port: number) => { readonly host: string; readonly port: number } | undefined
  readonly log: Logger
}

/**
 * Speaks TLS for the instances of this cell, so that what routers on other machines send them crosses the network encrypted, and to no
 * other than the one that is meant. The server name says which: `<port>.<instance guid>`. Only routers of this platform are let in.
 */
export class TlsForwarder {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #contexts = new WeakMap<InstancePair, { readonly authority: string; readonly context: SecureContext }>()

  constructor(private readonly deps: TlsForwarderDeps) {
    this.#server = createServer({
      ...serverTlsOptions(deps.identity()),
      allowHalfOpen: true,
      noDelay: true,
      handshakeTimeout: HANDSHAKE_MS,
      ALPNProtocols: ['h2', 'http/1.1'],
      SNICallback: (name, done) => {
        this.#contextFor(name).then(
          (context) => done(null, context),
          (error: unknown) => {
            deps.log.warn({ err: error, name }, 'a router asks for an instance that cannot be spoken for')
            done(error instanceof Error ? error : new Error(String(error)))
          },
        )
      },
    })
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
    this.#server.on('tlsClientError', (_error, socket) => socket.destroy())
    this.#server.on('secureConnection', (socket) => this.#pass(socket))
  }

  /** The port that it listens on. */
  async listen(): Promise<number> {
    const { host, port } = this.deps.listen
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(port, host, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
    return (this.#server.address() as AddressInfo).port
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  async #contextFor(serverName: string): Promise<SecureContext> {
    const { instanceGuid } = this.#wanted(serverName)
    const pair = await this.deps.certificates.get(instanceGuid)
    const { authorityPem: authority } = this.deps.identity()
    const known = this.#contexts.get(pair)
    if (known?.authority === authority) return known.context
    // By whom routers' certificates are issued belongs to each context.
    const context = createSecureContext({
      cert: pair.certificatePem,
      key: pair.privateKeyPem,
      ca: authority,
      minVersion: 'TLSv1.2',
    })
    this.#contexts.set(pair, { authority, context })
    return context
  }

  #wanted(serverName: string): {
    readonly instanceGuid: string
    readonly target: { readonly host: string; readonly port: number }
  } {
    const [port = '', instanceGuid = ''] = serverName.split('.')
    const target = this.deps.addressOf(instanceGuid, Number(port))
    if (!target) throw new Error(`there is no instance '${instanceGuid}' with port ${port} on this cell`)
    return { instanceGuid, target }
  }

  #pass(client: TLSSocket): void {
    client.on('error', () => client.destroy())
    if (peerOf(client)?.role !== 'router') return void client.destroy()
    let address: { readonly host: string; readonly port: number }
    try {
      address = this.#wanted((client as TLSSocket & { readonly servername?: string | false }).servername || '').target
    } catch {
      // It has gone since the handshake began.
      return void client.destroy()
    }
    const instance = connect({ ...address, allowHalfOpen: true, noDelay: true })
    const timer = setTimeout(() => instance.destroy(), DIAL_MS)
    instance.once('connect', () => clearTimeout(timer))
    instance.once('close', () => clearTimeout(timer))
    instance.on('error', () => instance.destroy())
    client.setKeepAlive(true, KEEP_ALIVE_MS)
    // An end of one direction is passed on; a connection that is cut is cut on the other side, too.
    client.once('close', () => instance.destroySoon())
    instance.once('close', (hadError) => (hadError || instance.errored ? client.destroy() : client.destroySoon()))
    client.pipe(instance)
    instance.pipe(client)
  }
}
