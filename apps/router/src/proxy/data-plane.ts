import type { SecureContext } from 'node:tls'

/**
 * What carries the traffic. The rest of the router (table, certificates, log, processes) knows nothing but this, so that the
 * way of moving bytes can be exchanged.
 */
export interface DataPlane {
  /** Begins to accept on sockets that are bound already. */
  listen(sockets: { readonly httpFd: number; readonly httpsFd: number }): Promise<void>
  /** Certificate of clients that name no host. */
  setDefaultCertificate(certificate: { readonly certificatePem: string; readonly privateKeyPem: string }): void
  /** From now on health answers 503 and connections are closed after their present request; new ones are still served. */
  announceDrain(): void
  /**
   * Stops accepting, lets requests under way end, and cuts those that outlast the timeout. Idle connections stay for the grace
   * time: a client that uses one once more is told to close it, and loses nothing.
   */
  close(timeoutMs: number, idleGraceMs: number): Promise<void>
}

/** The certificate for a host name; undefined for a name that has none. */
export type FindCertificate = (serverName: string) => SecureContext | undefined
