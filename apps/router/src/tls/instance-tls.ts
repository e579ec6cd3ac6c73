import { createSecureContext, connect, TLSSocket, type PeerCertificate, type SecureContext } from 'node:tls'
import type { Socket } from 'node:net'
import type { NodeIdentity } from '@bloomery/contracts'
import { coded, WRONG_IDENTITY } from '../failures.js'
import type { Target } from '../proxy/forwarding.js'

export interface InstanceTlsDeps {
  /** Who this router is; cells let no one else in. Asked at each new context. */
  readonly identity: () => NodeIdentity
  /** The authority of instances' certificates; undefined while it is not known: then no instance is believed. */
  readonly authority: () => string | undefined
}

/** Dials instances by TLS: the certificate must be the platform's, and name the very instance that is meant. */
export class InstanceTls {
  #context: { readonly of: string; readonly context: SecureContext } | undefined

  constructor(private readonly deps: InstanceTlsDeps) {}

  /** A connection to a target that has `tls`; 'secureConnect' tells that it stands, and with whom. */
  open(target: Target, protocols?: readonly string[]): TLSSocket {
    const { host, port, tls } = target
    if (!tls) throw new Error(`${host}:${port} is not dialled by TLS`)
    const options = {
      host,
      port,
      secureContext: this.#currentContext(),
      servername: tls.serverName,
      checkServerIdentity: (_name: string, certificate: PeerCertificate) => checkIdentity(tls.instanceGuid, certificate),
      allowHalfOpen: true,
      ...(protocols ? { ALPNProtocols: [...protocols] } : {}),
    }
    const socket = connect(options)
    socket.setNoDelay(true)
    socket.setKeepAlive(true, 30_000)
    return socket
  }

  /** Made anew when the router's certificate was renewed, or the authority. */
  #currentContext(): SecureContext {
    const { certificatePem, privateKeyPem } = this.deps.identity()
    const authority = this.deps.authority() ?? ''
    const of = `${certificatePem}${authority}`
    if (this.#context?.of === of) return this.#context.context
    const context = createSecureContext({
      cert: certificatePem,
      key: privateKeyPem,
      // Never the system's authorities, also while ours is not known.
      ca: authority === '' ? [] : authority,
      minVersion: 'TLSv1.2',
    })
    this.#context = { of, context }
    return context
  }
}

function checkIdentity(instanceGuid: string, { subjectaltname = '' }: PeerCertificate): Error | undefined {
  const names = subjectaltname.split(', ')
  if (names.includes(`DNS:${instanceGuid}`)) return undefined
  return coded(WRONG_IDENTITY, `x509: certificate is valid for ${subjectaltname || 'nobody'}, not ${instanceGuid}`)
}

/** The event by which a connection tells that it stands. */
export const connectEventOf = (socket: unknown): 'connect' | 'secureConnect' =>
  socket instanceof TLSSocket ? 'secureConnect' : 'connect'

/** Whether a connection is still being made, handshake included. */
export const isConnecting = (socket: Socket): boolean =>
  socket instanceof TLSSocket
    ? socket.connecting || (socket as unknown as { readonly secureConnecting?: boolean }).secureConnecting === true
    : socket.connecting
