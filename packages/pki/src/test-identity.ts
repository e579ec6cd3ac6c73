import type { NodeIdentity, NodeRole } from '@bloomery/contracts'
import { createAuthority, issueNodeIdentity, type CertificateAuthority } from './authority.js'

/** A throw-away identity for tests; hand the same authority to those that shall trust one another. */
export async function makeTestIdentity(
  role: NodeRole,
  options: { readonly nodeId?: string; readonly authority?: CertificateAuthority; readonly days?: number } = {},
): Promise<{ identity: NodeIdentity; authority: CertificateAuthority }> {
  const authority = options.authority ?? (await createAuthority({ name: 'Test authority' }))
  const identity = await issueNodeIdentity(authority, {
    role,
    nodeId: options.nodeId ?? 'test',
    ...(options.days === undefined ? {} : { days: options.days }),
  })
  return { identity, authority }
}
