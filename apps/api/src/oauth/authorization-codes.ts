import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Database, OauthClient, User } from '@bloomery/database'
import type { AuthorizationRequest } from './authorization-request.js'
import { OauthError } from './oauth-error.js'

/** A browser needs seconds to take a code to its client. */
const CODE_LIFE_MS = 60_000

export const digestOf = (secret: string): string => createHash('sha256').update(secret).digest('hex')

/** A code for a client that a user has let in. */
export async function issueCode(
  db: Database,
  { client, redirectUri, codeChallenge, nonce }: AuthorizationRequest,
  user: User,
  scopes: readonly string[],
  now: Date,
): Promise<string> {
  const code = randomBytes(32).toString('base64url')
  await db.authorizationCode.create({
    data: {
      codeHash: digestOf(code),
      clientId: client.clientId,
      userGuid: user.guid,
      redirectUri,
      scopes: [...scopes],
      codeChallenge: codeChallenge ?? null,
      nonce: nonce ?? null,
      expiresAt: new Date(now.getTime() + CODE_LIFE_MS),
    },
  })
  return code
}

/** What a code stands for. It is gone with the first try, whatever becomes of that. */
export async function redeemCode(
  db: Database,
  client: OauthClient,
  form: Readonly<Record<string, string>>,
  now: Date,
): Promise<{ user: User; scopes: readonly string[]; nonce: string | null }> {
  const where = { codeHash: digestOf(form['code'] ?? '') }
  const row = await db.authorizationCode.findUnique({ where, include: { user: true } })
  const { count } = await db.authorizationCode.deleteMany({ where })
  const { redirect_uri: redirectUri, code_verifier: verifier } = form
  const isGood =
    row !== null &&
    count === 1 &&
    row.clientId === client.clientId &&
    row.expiresAt > now &&
    row.user.active &&
    // Where none was named at first, none need be now.
    (redirectUri === row.redirectUri || (redirectUri === undefined && client.redirectUris.length === 1)) &&
    provesChallenge(verifier, row.codeChallenge)
  if (!isGood)
    throw new OauthError(
      'invalid_grant',
      'The code is unknown, used, too old, or was given to another client or for another address.',
    )
  return { user: row.user, scopes: row.scopes, nonce: row.nonce }
}

function provesChallenge(verifier: string | undefined, challenge: string | null): boolean {
  if (challenge === null) return verifier === undefined
  const proved = createHash('sha256')
    .update(verifier ?? '')
    .digest()
  const wanted = Buffer.from(challenge, 'base64url')
  return verifier !== undefined && wanted.length === proved.length && timingSafeEqual(wanted, proved)
}
