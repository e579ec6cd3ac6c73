import type { Socket } from 'node:net'
import type { SecureContext, TLSSocket } from 'node:tls'
import type { Logger } from '@bloomery/telemetry'
import type { ErrorPage } from '../error-pages/error-page.js'
import type { ClientCounts } from './client-counts.js'
import type { InstanceTls } from '../tls/instance-tls.js'
import type { Exchange } from './exchange.js'
import type { Disposition } from './disposition.js'
import type { Limits } from './limits.js'

/**
 * What carries the traffic. The rest of the router (table, certificates, log, processes) knows nothing but this, so that the
 * way of moving bytes can be exchanged.
 */
export interface DataPlane {
  /** Whether health checks shall be answered with 503. */
  readonly isDraining: boolean
  /** Clients' connections, as far as it carries them itself. */
  readonly openConnections: number
  /** Begins to accept on sockets that are bound already. */
  listen(sockets: { readonly httpFd: number; readonly httpsFd: number }): Promise<void>
  /** Certificate of clients that name no host. */
  setDefaultCertificate(certificate: { readonly certificatePem: string; readonly privateKeyPem: string }): void
  /** Keys of TLS session tickets: 48 bytes, the same for all workers. */
  setTicketKeys?(keys: Buffer): void
  /** Closes what is idle towards a target that is gone. */
  forget(poolKey: string): void
  /** From now on health answers 503 and connections are closed after their present request; new ones are still served. */
  announceDrain(): void
  /**
   * Stops accepting, lets requests under way end, and cuts those that outlast the timeout. Idle connections stay for the grace
   * time: a client that uses one once more is told to close it, and loses nothing.
   */
  close(timeoutMs: number, idleGraceMs: number): Promise<void>
}

/** What a data plane is made of. */
export interface DataPlaneDeps {
  /** The steps of the pipeline: what is to be done with a request. */
  readonly decide: (exchange: Exchange) => Disposition
  /** Told of each request once it is over, errors included. */
  readonly record: (exchange: Exchange, finishedAt: number) => void
  readonly findCertificate: FindCertificate
  /** Serves connections whose client chose HTTP/2 by ALPN; absent: it is not offered. */
  readonly http2?: Http2Carrier
  /** Dials instances that are spoken to by TLS; absent: there are none. */
  readonly instanceTls?: InstanceTls
  /** Looks at the beginning of TLS connections while a certificate authority may ask; absent: none ever does. */
  readonly acmeHandshakes?: AcmeHandshakeTaker
  readonly listener?: ListenerOptions
  /** @default LIMITS */
  readonly limits?: Limits
  /** How the router's own errors look. @default a line of text */
  readonly errorPage?: ErrorPage
  readonly log: Logger
}

/** What an operator may settle of the public listeners. */
export interface ListenerOptions {
  /** @default TLSv1.2 */
  readonly minTlsVersion?: 'TLSv1.2' | 'TLSv1.3'
  /** Whether clients are asked for a certificate, and by whom it must be issued. */
  readonly clientCertificates?: { readonly required: boolean; readonly ca: string }
  /** Load balancers in front tell who the client is (PROXY protocol). */
  readonly proxyProtocol?: boolean
}

/** Takes connections of certificate authorities that ask within the TLS handshake. */
export interface AcmeHandshakeTaker {
  /** Whether one may come now. */
  readonly isExpecting: boolean
  /** Takes the connection if it is one; else gives it on with all its bytes. */
  take(socket: Socket, giveOn: () => void): void
}

/** The certificate for a host name; undefined for a name that has none. */
export type FindCertificate = (serverName: string) => SecureContext | undefined

/** Carries the connections of clients that speak HTTP/2. It runs the same steps and tells the same log. */
export interface Http2Carrier {
  /**
   * Takes over a connection after its handshake; nothing has been read from it. `client`: who it is, `counts`: what it has open;
   * the connection itself is counted already.
   */
  accept(socket: TLSSocket, client: { readonly address: string; readonly port: number }, counts: ClientCounts): void
  /** Begins to send connections away: after the streams under way they shall come anew, elsewhere. */
  announceDrain(): void
  /** Ends what is idle, lets streams under way end, and cuts those that outlast the timeout. */
  close(timeoutMs: number): Promise<void>
}
