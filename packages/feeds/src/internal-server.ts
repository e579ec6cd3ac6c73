import { createServer, type Server } from 'node:https'
import type { IncomingMessage, RequestListener } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { NodeRole, type NodeIdentity } from '@bloomery/contracts'

/** Who is at the other end of a mutual-TLS connection, as its certificate says. */
export interface InternalPeer {
  readonly role: NodeRole
  readonly nodeId: string
}

/** An HTTPS server (not yet listening) that only nodes with a certificate of the internal authority can connect to. */
export function createInternalServer(identity: NodeIdentity, handle?: RequestListener): Server {
  const { certificatePem: cert, privateKeyPem: key, authorityPem: ca } = identity
  return createServer({ cert, key, ca, requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3' }, handle)
}

/** The peer of a request, from its certificate's common name `<role>:<nodeId>`; undefined for a name that is no node's. */
export function internalPeer(request: IncomingMessage): InternalPeer | undefined {
  const name = (request.socket as TLSSocket).getPeerCertificate().subject?.CN
  const [role, ...rest] = (typeof name === 'string' ? name : '').split(':')
  const parsed = NodeRole.safeParse(role)
  const nodeId = rest.join(':')
  return parsed.success && nodeId ? { role: parsed.data, nodeId } : undefined
}
