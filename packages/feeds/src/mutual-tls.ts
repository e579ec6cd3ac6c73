import { type NodeIdentity, type NodeRole, serverNameOf } from '@bloomery/contracts'
import { Agent, type Dispatcher } from 'undici'

/** An identity, or where to find the present one. */
export type IdentitySource = NodeIdentity | (() => NodeIdentity)

/**
 * A dispatcher that presents the identity and accepts only a peer of the given role, whatever address it was dialled at.
 * Of a function it takes the identity of this moment; dial anew when a connection fails, for certificates are renewed.
 */
export function dialRole(role: NodeRole, identity: IdentitySource, options: Omit<Agent.Options, 'connect'> = {}): Dispatcher {
  const { certificatePem, privateKeyPem, authorityPem } = typeof identity === 'function' ? identity() : identity
  return new Agent({
    connections: 2,
    keepAliveTimeout: 30_000,
    headersTimeout: 15_000,
    bodyTimeout: 30_000,
    ...options,
    connect: { cert: certificatePem, key: privateKeyPem, ca: authorityPem, servername: serverNameOf(role), timeout: 3_000 },
  })
}
