import type { Socket } from 'node:net'
import { TLSSocket, type ConnectionOptions, type SecureContextOptions, type TlsOptions } from 'node:tls'
import { type NodeIdentity, type NodeRole, serverNameOf } from '@bloomery/contracts'
import { parseCommonName, type NodeName } from './names.js'

/** Key, certificate and authority, e.g. for `server.setSecureContext` after a renewal. */
export function secureContextOf(identity: NodeIdentity): SecureContextOptions {
  return {
    // The authority's certificate goes along, so that a joiner can compare it with the fingerprint of its token.
    cert: `${identity.certificatePem}${identity.authorityPem}`,
    key: identity.privateKeyPem,
    ca: identity.authorityPem,
    minVersion: 'TLSv1.2',
  }
}

/**
 * Options for `tls`/`https` `createServer` of an internal listener. Peers without a certificate of the authority are refused,
 * or with `anonymous: true` (the api, where nodes join) let in: then each handler asks {@link peerOf}.
 */
export function serverTlsOptions(identity: NodeIdentity, options: { readonly anonymous?: boolean } = {}): TlsOptions {
  return { ...secureContextOf(identity), requestCert: true, rejectUnauthorized: options.anonymous !== true }
}

/** Options for `tls.connect`, `https.request` and undici's `connect` to an internal listener of `role` at any address. */
export function clientTlsOptions(identity: NodeIdentity, role: NodeRole): ConnectionOptions {
  return { ...secureContextOf(identity), servername: serverNameOf(role), rejectUnauthorized: true }
}

/** Who is at the other end, by its verified certificate; undefined for a peer without one. */
export function peerOf(socket: Socket): NodeName | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined
  const { subject } = socket.getPeerCertificate()
  const commonName: unknown = (subject as { CN?: unknown } | undefined)?.CN
  return typeof commonName === 'string' ? parseCommonName(commonName) : undefined
}
