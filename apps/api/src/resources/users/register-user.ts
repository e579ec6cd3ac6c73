import type { Transaction, User } from '@bloomery/database'

/**
 * Makes an identity known to the platform: a user of the directory, or a service account, which gets a row without a name.
 * Whoever is known already stays as it is.
 */
export async function registerUser(tx: Transaction, guid: string): Promise<User> {
  return tx.user.upsert({ where: { guid }, update: { registered: true }, create: { guid, username: null, registered: true } })
}
