import type { Database, User } from '@bloomery/database'
import { OauthError } from './oauth-error.js'
import { passwordMatches } from './passwords.js'

const MAX_FAILURES = 5
const LOCK_MS = 5 * 60_000
/** Compared literally by the client, which then asks no further. */
const LOCKED = 'Your account has been locked because of too many failed attempts to login.'

/** The user of these credentials. Five failures in a row lock the account for five minutes, also for the right password. */
export async function logIn(
  db: Database,
  credentials: { readonly username: string; readonly password: string; readonly origin: string },
  now: Date,
): Promise<User> {
  const user = await db.user.findFirst({
    where: { username: { equals: credentials.username, mode: 'insensitive' }, origin: credentials.origin, active: true },
  })
  const matches = await passwordMatches(credentials.password, user?.passwordHash)
  if (!user) throw new OauthError('unauthorized', 'Bad credentials')
  if (user.lockedUntil && user.lockedUntil > now) throw new OauthError('unauthorized', LOCKED)
  if (matches) {
    if (user.failedLogins > 0 || user.lockedUntil)
      await db.user.update({ where: { guid: user.guid }, data: { failedLogins: 0, lockedUntil: null } })
    return user
  }
  // Counted in the database, so that parallel attempts count each.
  const counted = await db.user.update({
    where: { guid: user.guid },
    data: user.lockedUntil ? { failedLogins: 1, lockedUntil: null } : { failedLogins: { increment: 1 } },
  })
  if (counted.failedLogins < MAX_FAILURES) throw new OauthError('unauthorized', 'Bad credentials')
  await db.user.update({ where: { guid: user.guid }, data: { failedLogins: 0, lockedUntil: new Date(now.getTime() + LOCK_MS) } })
  throw new OauthError('unauthorized', LOCKED)
}
