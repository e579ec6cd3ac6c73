import { z } from 'zod'

/** What a role presents to its peers: a certificate of the internal authority. Common name `<role>:<nodeId>`, DNS SAN `<role>.bloomery.internal`. */
export interface NodeIdentity {
  readonly role: NodeRole
  readonly nodeId: string
  readonly certificatePem: string
  readonly privateKeyPem: string
  readonly authorityPem: string
}
export const NodeRole = z.enum(['api', 'stager', 'scheduler', 'cell', 'router', 'logs', 'broker', 'launcher'])
export type NodeRole = z.infer<typeof NodeRole>

/** Clients dial any address and verify this name. */
export const serverNameOf = (role: NodeRole): string => `${role}.bloomery.internal`

/**
 * On the api's internal listener (TLS with the internal authority; the joiner pins the authority's fingerprint, which is part of the token):
 *   POST /internal/join    JoinRequest → JoinAnswer          (no client certificate; the token is spent)
 *   POST /internal/renew   RenewRequest → JoinAnswer         (with the present certificate)
 *   POST /internal/instance-certificates  InstanceCertificateRequest → InstanceCertificateAnswer  (a cell, for instances placed on it)
 *   GET  /internal/instance-authority     → { certificatePem }  (a router: by whom those are issued)
 *   GET  /internal/blobs/<key>?expires=&signature=           (signed address; bytes)
 */
export const JoinRequest = z.object({ token: z.string(), role: NodeRole, nodeId: z.string().optional(), csrPem: z.string() })
export type JoinRequest = z.infer<typeof JoinRequest>
export const RenewRequest = z.object({ csrPem: z.string() })
export type RenewRequest = z.infer<typeof RenewRequest>
export const JoinAnswer = z.object({ nodeId: z.string(), certificatePem: z.string(), authorityPem: z.string() })
export type JoinAnswer = z.infer<typeof JoinAnswer>

export const InstanceCertificateRequest = z.object({
  instanceGuid: z.string(),
  csrPem: z.string(),
  /** The instance's own address, by the word of its cell, which reports it once the instance has started; what it reported counts more. */
  address: z.union([z.ipv4(), z.ipv6()]).optional(),
})
export type InstanceCertificateRequest = z.infer<typeof InstanceCertificateRequest>
export const InstanceCertificateAnswer = z.object({ certificatePem: z.string(), authorityPem: z.string() })
export type InstanceCertificateAnswer = z.infer<typeof InstanceCertificateAnswer>
