import { createHash, randomBytes } from 'node:crypto'
import { decodeProtectedHeader, errors, jwtVerify, SignJWT } from 'jose'
import { CfError } from '@bloomery/contracts'
import { execute, rows, sql, type Pool } from '@bloomery/database'
import { z } from 'zod'
import type { TokenVerifier } from '../http/authentication.js'
import type { Principal } from '../http/principal.js'
import { SIGNING_ALGORITHM, type SigningKeys } from './signing-keys.js'

/** For whom a token is made. */
export interface TokenSubject {
  readonly user?: { readonly guid: string; readonly username: string; readonly origin: string; readonly email: string | null }
  readonly clientId: string
  readonly scopes: readonly string[]
  readonly grantType: string
}
export interface IssuedToken {
  readonly token: string
  readonly jti: string
  readonly expiresAt: Date
}
const Claims = z.object({
  jti: z.string(),
  exp: z.number(),
  use: z.enum(['access', 'refresh']),
  client_id: z.string(),
  scope: z.array(z.string()),
  user_id: z.string().optional(),
  user_name: z.string().optional(),
  origin: z.string().optional(),
})
export type Claims = z.infer<typeof Claims>

/** A token that is believed without asking the database again, for this long: the bound on how late a revocation is noticed elsewhere. */
const TRUST_MS = 3_000
const MAX_CACHED = 10_000

/** Signs and reads the platform's tokens. */
export class Tokens implements TokenVerifier {
  readonly #verified = new Map<string, { claims: Claims; principal: Principal; checkedAt: number }>()

  constructor(
    private readonly pool: Pool,
    private readonly keys: SigningKeys,
    readonly issuer: string,
    private readonly now: () => Date,
  ) {}

  async issueAccessToken(subject: TokenSubject, lifetimeSeconds: number): Promise<IssuedToken> {
    return this.#sign(subject, lifetimeSeconds, randomBytes(16).toString('hex'), 'access')
  }

  async issueRefreshToken(subject: TokenSubject, lifetimeSeconds: number): Promise<IssuedToken> {
    return this.#sign(subject, lifetimeSeconds, `${randomBytes(16).toString('hex')}-r`, 'refresh')
  }

  /** Tells a client who the user is; it opens nothing here. */
  async issueIdToken(
    user: NonNullable<TokenSubject['user']>,
    clientId: string,
    nonce: string | null,
    lifetimeSeconds: number,
  ): Promise<string> {
    const { kid, key } = await this.keys.signer()
    const issuedAt = Math.floor(this.now().getTime() / 1000)
    return new SignJWT({
      use: 'id',
      azp: clientId,
      user_id: user.guid,
      user_name: user.username,
      origin: user.origin,
      email: user.email ?? user.username,
      auth_time: issuedAt,
      zid: 'uaa',
      ...(nonce === null ? {} : { nonce }),
    })
      .setProtectedHeader({ alg: SIGNING_ALGORITHM, kid, typ: 'JWT' })
      .setSubject(user.guid)
      .setIssuer(this.issuer)
      .setAudience(clientId)
      .setIssuedAt(issuedAt)
      .setExpirationTime(issuedAt + lifetimeSeconds)
      .sign(key)
  }

  /** The claims of a token that we signed and that has not expired; whether it was revoked is for the caller to ask. */
  async read(token: string, use: 'access' | 'refresh'): Promise<Claims> {
    try {
      const { kid } = decodeProtectedHeader(token)
      const key = kid === undefined ? undefined : await this.keys.verifier(kid)
      if (!key) throw invalid('Invalid Auth Token')
      const { payload } = await jwtVerify(token, key, {
        algorithms: [SIGNING_ALGORITHM],
        issuer: this.issuer,
        currentDate: this.now(),
      })
      const claims = Claims.safeParse(payload)
      if (!claims.success || claims.data.use !== use) throw invalid('Invalid Auth Token')
      return claims.data
    } catch (error) {
      if (error instanceof errors.JOSEError || error instanceof TypeError) throw invalid('Invalid Auth Token', error)
      throw error
    }
  }

  async verify(token: string): Promise<Principal> {
    const digest = createHash('sha256').update(token).digest('base64')
    const known = this.#verified.get(digest)
    const now = this.now().getTime()
    if (known && known.claims.exp * 1000 > now && now - known.checkedAt < TRUST_MS) return known.principal
    this.#verified.delete(digest)
    const claims = await this.read(token, 'access')
    await this.#refuseRevoked(claims)
    const principal = principalOf(claims)
    if (this.#verified.size >= MAX_CACHED) this.#verified.clear()
    this.#verified.set(digest, { claims, principal, checkedAt: now })
    return principal
  }

  /** Access tokens are remembered as revoked until they would have expired; refresh tokens are struck from the list of good ones. */
  async revoke(jti: string, keepForSeconds = 31 * 86_400): Promise<void> {
    await execute(
      this.pool,
      sql`INSERT INTO revoked_tokens (jti, expires_at) VALUES (${jti}, clock_timestamp() + ${keepForSeconds} * interval '1 second')
          ON CONFLICT (jti) DO NOTHING`,
    )
    await execute(
      this.pool,
      sql`UPDATE refresh_tokens SET revoked_at = clock_timestamp() WHERE jti = ${jti} AND revoked_at IS NULL`,
    )
    this.#forget((claims) => claims.jti === jti)
  }

  /** All tokens of a user that is gone or has a new password, with what could become tokens. */
  async revokeUser(userGuid: string): Promise<void> {
    await execute(this.pool, sql`DELETE FROM login_sessions WHERE user_guid = ${userGuid}`)
    await execute(this.pool, sql`DELETE FROM authorization_codes WHERE user_guid = ${userGuid}`)
    await execute(
      this.pool,
      sql`UPDATE refresh_tokens SET revoked_at = clock_timestamp() WHERE user_guid = ${userGuid} AND revoked_at IS NULL`,
    )
    this.#forget((claims) => claims.user_id === userGuid)
  }

  async removeExpired(): Promise<void> {
    await execute(this.pool, sql`DELETE FROM revoked_tokens WHERE expires_at < clock_timestamp()`)
    await execute(this.pool, sql`DELETE FROM refresh_tokens WHERE expires_at < clock_timestamp()`)
    await execute(this.pool, sql`DELETE FROM login_sessions WHERE expires_at < clock_timestamp()`)
    await execute(this.pool, sql`DELETE FROM authorization_codes WHERE expires_at < clock_timestamp()`)
  }

  async #refuseRevoked(claims: Claims): Promise<void> {
    const [row] = await rows<{ revoked: boolean; gone: boolean }>(
      this.pool,
      claims.user_id === undefined
        ? sql`SELECT EXISTS (SELECT 1 FROM revoked_tokens WHERE jti = ${claims.jti}) AS revoked,
                NOT EXISTS (SELECT 1 FROM oauth_clients WHERE client_id = ${claims.client_id}) AS gone`
        : sql`SELECT EXISTS (SELECT 1 FROM revoked_tokens WHERE jti = ${claims.jti}) AS revoked,
                NOT EXISTS (SELECT 1 FROM users WHERE guid = ${claims.user_id} AND active) AS gone`,
    )
    if (!row || row.revoked || row.gone) throw invalid('Invalid Auth Token')
  }

  #forget(matches: (claims: Claims) => boolean): void {
    for (const [digest, { claims }] of this.#verified) if (matches(claims)) this.#verified.delete(digest)
  }

  async #sign(subject: TokenSubject, lifetimeSeconds: number, jti: string, use: 'access' | 'refresh'): Promise<IssuedToken> {
    const { kid, key } = await this.keys.signer()
    const issuedAt = Math.floor(this.now().getTime() / 1000)
    const { user, clientId, grantType } = subject
    const scope = [...subject.scopes]
    const audience = [...new Set([clientId, ...scope.map((each) => each.split('.').slice(0, -1).join('.') || each)])]
    const token = await new SignJWT({
      use,
      scope,
      client_id: clientId,
      cid: clientId,
      azp: clientId,
      grant_type: grantType,
      revocable: true,
      zid: 'uaa',
      ...(user
        ? {
            user_id: user.guid,
            user_name: user.username,
            origin: user.origin,
            email: user.email ?? user.username,
            auth_time: issuedAt,
          }
        : { authorities: scope }),
    })
      .setProtectedHeader({ alg: SIGNING_ALGORITHM, kid, typ: 'JWT' })
      .setJti(jti)
      .setSubject(user?.guid ?? clientId)
      .setIssuer(this.issuer)
      .setAudience(audience)
      .setIssuedAt(issuedAt)
      .setExpirationTime(issuedAt + lifetimeSeconds)
      .sign(key)
    return { token, jti, expiresAt: new Date((issuedAt + lifetimeSeconds) * 1000) }
  }
}

const invalid = (detail: string, cause?: unknown): CfError =>
  new CfError('InvalidAuthToken', detail, cause === undefined ? {} : { cause })

const principalOf = (claims: Claims): Principal => ({
  kind: claims.user_id === undefined ? 'client' : 'user',
  guid: claims.user_id ?? claims.client_id,
  name: claims.user_name ?? claims.client_id,
  origin: claims.origin ?? null,
  scopes: new Set(claims.scope),
})
