import { CfError } from '@bloomery/contracts'
import type { Database, OauthClient, User } from '@bloomery/database'
import { z } from 'zod'
import { redeemCode } from './authorization-codes.js'
import { logIn } from './log-in.js'
import { OauthError } from './oauth-error.js'
import { USER_SCOPES } from './scopes.js'
import type { Tokens } from './tokens.js'

export type TokenForm = Readonly<Record<string, string>>
export interface TokenAnswer {
  readonly access_token: string
  readonly token_type: 'bearer'
  readonly refresh_token?: string
  readonly id_token?: string
  readonly expires_in: number
  readonly scope: string
  readonly jti: string
}
export interface GrantParts {
  readonly db: Database
  readonly tokens: Tokens
  readonly now: () => Date
}

const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
const LoginHint = z.object({ origin: z.string() })

/** One token request of an authenticated client. */
export async function grant(parts: GrantParts, client: OauthClient, form: TokenForm, loginHint?: string): Promise<TokenAnswer> {
  const grantType = form['grant_type'] ?? ''
  if (grantType === JWT_BEARER || form['client_assertion'] !== undefined)
    throw new OauthError(
      'unauthorized',
      'This platform does not accept assertions (jwt-bearer); log in with a user name and password.',
    )
  if (!['password', 'refresh_token', 'client_credentials', 'authorization_code'].includes(grantType))
    throw new OauthError('unsupported_grant_type', `Unsupported grant type: ${grantType}`)
  if (!client.grantTypes.includes(grantType)) throw new OauthError('unauthorized_client', `Unauthorized grant type: ${grantType}`)
  if (grantType === 'password') return passwordGrant(parts, client, form, loginHint)
  if (grantType === 'refresh_token') return refreshGrant(parts, client, form)
  if (grantType === 'authorization_code') return codeGrant(parts, client, form)
  const { token, jti } = await parts.tokens.issueAccessToken(
    { clientId: client.clientId, scopes: client.scopes, grantType },
    client.accessTokenSeconds,
  )
  return answer(client, token, jti, client.scopes)
}

async function passwordGrant(
  { db, tokens, now }: GrantParts,
  client: OauthClient,
  form: TokenForm,
  loginHint: string | undefined,
): Promise<TokenAnswer> {
  if (form['passcode'] !== undefined)
    throw new OauthError('unauthorized', 'This platform has no single sign-on; log in with a user name and password.')
  const user = await logIn(
    db,
    { username: form['username'] ?? '', password: form['password'] ?? '', origin: originOf(loginHint) },
    now(),
  )
  const subject = subjectOf(user, client, 'password')
  const access = await tokens.issueAccessToken(subject, client.accessTokenSeconds)
  if (!client.grantTypes.includes('refresh_token') || client.refreshTokenSeconds === null)
    return answer(client, access.token, access.jti, subject.scopes)
  const refresh = await tokens.issueRefreshToken(subject, client.refreshTokenSeconds)
  await db.refreshToken.create({
    data: { jti: refresh.jti, userGuid: user.guid, clientId: client.clientId, expiresAt: refresh.expiresAt },
  })
  return { ...answer(client, access.token, access.jti, subject.scopes), refresh_token: refresh.token }
}

async function codeGrant({ db, tokens, now }: GrantParts, client: OauthClient, form: TokenForm): Promise<TokenAnswer> {
  const { user, scopes, nonce } = await redeemCode(db, client, form, now())
  const all = subjectOf(user, client, 'authorization_code')
  const subject = { ...all, scopes: all.scopes.filter((scope) => scopes.includes(scope)) }
  const access = await tokens.issueAccessToken(subject, client.accessTokenSeconds)
  const given = answer(client, access.token, access.jti, subject.scopes)
  if (!subject.scopes.includes('openid')) return given
  return { ...given, id_token: await tokens.issueIdToken(subject.user, client.clientId, nonce, client.accessTokenSeconds) }
}

/** The same refresh token is given back, so a request that is sent again does no harm. Scopes are those that the user has now. */
async function refreshGrant({ db, tokens, now }: GrantParts, client: OauthClient, form: TokenForm): Promise<TokenAnswer> {
  const refreshToken = form['refresh_token'] ?? ''
  const claims = await tokens.read(refreshToken, 'refresh').catch((error: unknown) => {
    throw error instanceof CfError && error.kind === 'InvalidAuthToken' ? invalidRefresh() : error
  })
  const row = await db.refreshToken.findUnique({ where: { jti: claims.jti }, include: { user: true } })
  if (!row || row.revokedAt || row.expiresAt <= now() || row.clientId !== client.clientId || !row.user.active)
    throw invalidRefresh()
  const subject = subjectOf(row.user, client, 'refresh_token')
  const access = await tokens.issueAccessToken(subject, client.accessTokenSeconds)
  return { ...answer(client, access.token, access.jti, subject.scopes), refresh_token: refreshToken }
}

const invalidRefresh = (): OauthError =>
  new OauthError('invalid_token', 'The refresh token is expired, was revoked or is not ours. Log in again.')

function subjectOf(user: User, client: OauthClient, grantType: string) {
  const allowed = new Set(client.scopes)
  return {
    user: { guid: user.guid, username: user.username ?? user.guid, origin: user.origin, email: user.email },
    clientId: client.clientId,
    scopes: [...new Set([...USER_SCOPES, ...user.scopes])].filter((scope) => allowed.has(scope)),
    grantType,
  }
}

const answer = (client: OauthClient, token: string, jti: string, scopes: readonly string[]): TokenAnswer => ({
  access_token: token,
  token_type: 'bearer',
  expires_in: client.accessTokenSeconds - 1,
  scope: scopes.join(' '),
  jti,
})

function originOf(loginHint: string | undefined): string {
  if (loginHint === undefined) return 'uaa'
  try {
    return LoginHint.parse(JSON.parse(loginHint)).origin
  } catch {
    throw new OauthError('invalid_request', 'login_hint cannot be read; it has the form {"origin":"uaa"}.')
  }
}
