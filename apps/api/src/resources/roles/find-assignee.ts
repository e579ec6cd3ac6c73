import type { Database, User } from '@bloomery/database'
import { unprocessable } from '../../http/errors.js'

/** Whom a role is given to: by guid, or by name and, where the name is not unique, origin. */
export interface Assignee {
  readonly guid?: string | undefined
  readonly username?: string | undefined
  readonly origin?: string | undefined
}

/** The guid of whom a request names; `unknown` words the refusal for a name that nobody has, where it must not be told. */
export async function findAssignee(db: Database, assignee: Assignee, unknown?: string): Promise<string> {
  if (assignee.guid !== undefined) return assignee.guid
  const { username = '', origin } = assignee
  const found: User[] = await db.user.findMany({
    where: { username: { equals: username, mode: 'insensitive' }, ...(origin ? { origin } : {}) },
    orderBy: { origin: 'asc' },
  })
  const [user, ...others] = found
  if (user && others.length > 0)
    throw unprocessable(
      `Ambiguous user. User with username '${username}' exists in the following origins: ${found.map((each) => each.origin).join(', ')}. Specify an origin to disambiguate.`,
    )
  if (user) return user.guid
  throw unprocessable(
    unknown ??
      (origin
        ? `No user exists with the username '${username}' and origin '${origin}'.`
        : `No user exists with the username '${username}'.`),
  )
}
