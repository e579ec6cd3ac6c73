import { execute, rows, sql, type Pool } from '@bloomery/database'
import type { Keyring } from '@bloomery/secrets'
import { crypto } from 'acme-client'

/** By which an authority convinces itself that a name is ours: by HTTP on port 80, or within the TLS handshake on port 443. */
export const CHALLENGE_TYPES = ['http-01', 'tls-alpn-01'] as const
export type ChallengeType = (typeof CHALLENGE_TYPES)[number]

/** An answer to an authority's question, as routers give it. */
export interface ChallengeView {
  readonly name: string
  readonly token: string
  readonly type: ChallengeType
  readonly keyAuthorization: string
  /** tls-alpn-01: what is shown to whoever offers acme-tls/1 for the name. */
  readonly certificatePem?: string
  readonly privateKeyPem?: string
}

/** What an authority will ask. */
export interface Challenge {
  readonly name: string
  readonly token: string
  readonly type: ChallengeType
  readonly keyAuthorization: string
}

const LIFE_MS = 10 * 60_000

const contextOf = (token: string): string => `acme_challenge:${token}`

/** The answers that routers give now; they ask for them every other second. */
export class Challenges {
  constructor(private readonly deps: { readonly pool: Pool; readonly keyring: Keyring; readonly now: () => Date }) {}

  /** Routers answer it from now on, for ten minutes at most. Returns what they will show. */
  async put({ name, token, type, keyAuthorization }: Challenge): Promise<ChallengeView> {
    const { pool, keyring, now } = this.deps
    const pair = type === 'tls-alpn-01' ? await proofOf(name, keyAuthorization) : undefined
    const key = pair && JSON.stringify(keyring.encrypt(pair.privateKeyPem, contextOf(token)))
    await execute(
      pool,
      sql`INSERT INTO acme_challenges (token, name, type, key_authorization, certificate_pem, private_key_encrypted, expires_at)
          VALUES (${token}, ${name}, ${type}, ${keyAuthorization}, ${pair?.certificatePem ?? null}, ${key ?? null},
            ${new Date(now().getTime() + LIFE_MS)})
          ON CONFLICT (token) DO UPDATE SET type = EXCLUDED.type, key_authorization = EXCLUDED.key_authorization,
            certificate_pem = EXCLUDED.certificate_pem, private_key_encrypted = EXCLUDED.private_key_encrypted,
            expires_at = EXCLUDED.expires_at`,
    )
    return { name, token, type, keyAuthorization, ...pair }
  }

  async remove(token: string): Promise<void> {
    await execute(this.deps.pool, sql`DELETE FROM acme_challenges WHERE token = ${token}`)
  }

  async list(): Promise<ChallengeView[]> {
    const { pool, keyring, now } = this.deps
    const found = await rows<Challenge & { certificatePem: string | null; key: unknown }>(
      pool,
      sql`SELECT name, token, type, key_authorization AS "keyAuthorization", certificate_pem AS "certificatePem",
            private_key_encrypted AS key FROM acme_challenges WHERE expires_at > ${now()}`,
    )
    return found.map(({ certificatePem, key, ...challenge }) =>
      certificatePem === null || key === null
        ? challenge
        : { ...challenge, certificatePem, privateKeyPem: keyring.decrypt(key, contextOf(challenge.token)) },
    )
  }

  async removeExpired(): Promise<void> {
    await execute(this.deps.pool, sql`DELETE FROM acme_challenges WHERE expires_at < ${this.deps.now()}`)
  }
}

/** RFC 8737: a certificate for the name alone, signed by itself, with the hash of the key authorization in it. */
async function proofOf(name: string, keyAuthorization: string): Promise<{ certificatePem: string; privateKeyPem: string }> {
  const authorization = { identifier: { type: 'dns', value: name } } as Parameters<typeof crypto.createAlpnCertificate>[0]
  const key = await crypto.createPrivateEcdsaKey()
  const [privateKeyPem, certificatePem] = await crypto.createAlpnCertificate(authorization, keyAuthorization, key)
  return { certificatePem: certificatePem.toString(), privateKeyPem: privateKeyPem.toString() }
}
