import { randomUUID, X509Certificate } from 'node:crypto'
import { rows, sql, transaction, type Pool } from '@bloomery/database'
import { createAuthority, type CertificateAuthority } from '@bloomery/pki'
import type { Keyring } from '@bloomery/secrets'

/** What an authority vouches for: roles to each other, the public listeners to browsers, or instances to whoever asks who they are. */
export type AuthorityPurpose = 'internal' | 'ingress' | 'instances'
const NAMES: Record<AuthorityPurpose, string> = {
  internal: 'Bloomery internal authority',
  ingress: 'Bloomery ingress authority',
  instances: 'Bloomery instance identity authority',
}

/** The platform's authority for a purpose; made where there is none yet, once however many api processes start together. */
export async function ensureAuthority(pool: Pool, keyring: Keyring, purpose: AuthorityPurpose): Promise<CertificateAuthority> {
  return transaction(pool, async (tx) => {
    await tx.query(`SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, [`bloomery:authority:${purpose}`])
    const [found] = await rows<{ guid: string; certificate_pem: string; private_key_encrypted: unknown }>(
      tx,
      sql`SELECT guid, certificate_pem, private_key_encrypted FROM authorities WHERE purpose = ${purpose} AND not_after > now()
          ORDER BY created_at DESC LIMIT 1`,
    )
    if (found)
      return {
        certificatePem: found.certificate_pem,
        privateKeyPem: keyring.decrypt(found.private_key_encrypted, `authority:${found.guid}`),
      }
    const authority = await createAuthority({ name: NAMES[purpose] })
    const guid = randomUUID()
    await rows(
      tx,
      sql`INSERT INTO authorities (guid, purpose, certificate_pem, private_key_encrypted, not_after)
          VALUES (${guid}, ${purpose}, ${authority.certificatePem},
            ${JSON.stringify(keyring.encrypt(authority.privateKeyPem, `authority:${guid}`))}, ${notAfterOf(authority.certificatePem)})`,
    )
    return authority
  })
}

export const notAfterOf = (certificatePem: string): Date => new Date(new X509Certificate(certificatePem).validTo)
