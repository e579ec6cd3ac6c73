import { randomUUID } from 'node:crypto'
import { exportJWK, generateKeyPair, importJWK, importPKCS8, exportPKCS8, type CryptoKey, type JWK } from 'jose'
import type { Database } from '@bloomery/database'
import type { Keyring } from '@bloomery/secrets'

export const SIGNING_ALGORITHM = 'ES256'
const DAY_MS = 86_400_000

export interface SigningKeyOptions {
  /** A key signs for this long. @default 30 days */
  readonly rotateAfterMs?: number
  /** And verifies for so long after that: at least the longest life of a token. @default 31 days */
  readonly verifyForMs?: number
}
interface Verifier {
  readonly kid: string
  readonly key: CryptoKey
  readonly jwk: JWK
}

/** The keys that sign tokens: one signs, older ones still verify until the last token they signed has expired. */
export class SigningKeys {
  #signer: { kid: string; key: CryptoKey } | undefined
  #verifiers = new Map<string, Verifier>()
  #loadedAt = 0

  constructor(
    private readonly db: Database,
    private readonly keyring: Keyring,
    private readonly now: () => Date,
    private readonly options: SigningKeyOptions = {},
  ) {}

  /** Makes the first key, or the next one when the present has signed long enough; forgets keys that verify no more. Safe to call at any time from any process. */
  async rotate(): Promise<void> {
    const now = this.now()
    const due = new Date(now.getTime() - (this.options.rotateAfterMs ?? 30 * DAY_MS))
    await this.db.$transaction(async (tx) => {
      await tx.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended('bloomery:signing-keys', 0))`
      await tx.signingKey.deleteMany({ where: { expiresAt: { lt: now } } })
      if (await tx.signingKey.findFirst({ where: { retiredAt: null, createdAt: { gt: due } } })) return
      await tx.signingKey.updateMany({
        where: { retiredAt: null },
        data: { retiredAt: now, expiresAt: new Date(now.getTime() + (this.options.verifyForMs ?? 31 * DAY_MS)) },
      })
      const kid = randomUUID()
      const { privateKey, publicKey } = await generateKeyPair(SIGNING_ALGORITHM, { extractable: true })
      await tx.signingKey.create({
        data: {
          kid,
          algorithm: SIGNING_ALGORITHM,
          privateKeyEncrypted: { ...this.keyring.encrypt(await exportPKCS8(privateKey), `signing_key:${kid}`) },
          publicJwk: { ...(await exportJWK(publicKey)), kid, alg: SIGNING_ALGORITHM, use: 'sig' },
          createdAt: now,
        },
      })
    })
    await this.#load()
  }

  async signer(): Promise<{ kid: string; key: CryptoKey }> {
    if (!this.#signer) await this.#load()
    if (!this.#signer) throw new Error('There is no signing key yet.')
    return this.#signer
  }

  /** The public key of that name; reads again (at most every few seconds) for one that another process may have made. */
  async verifier(kid: string): Promise<CryptoKey | undefined> {
    if (!this.#verifiers.has(kid) && Date.now() - this.#loadedAt > 5_000) await this.#load()
    return this.#verifiers.get(kid)?.key
  }

  async publicKeys(): Promise<JWK[]> {
    await this.#load()
    return [...this.#verifiers.values()].map(({ jwk }) => jwk)
  }

  async #load(): Promise<void> {
    this.#loadedAt = Date.now()
    const found = await this.db.signingKey.findMany({ orderBy: { createdAt: 'desc' } })
    const verifiers = new Map<string, Verifier>()
    for (const { kid, publicJwk } of found) {
      const jwk = publicJwk as JWK
      verifiers.set(kid, { kid, jwk, key: (await importJWK(jwk, SIGNING_ALGORITHM)) as CryptoKey })
    }
    this.#verifiers = verifiers
    const current = found.find((row) => row.retiredAt === null)
    if (current && this.#signer?.kid !== current.kid)
      this.#signer = {
        kid: current.kid,
        key: await importPKCS8(
          this.keyring.decrypt(current.privateKeyEncrypted, `signing_key:${current.kid}`),
          SIGNING_ALGORITHM,
        ),
      }
  }
}
