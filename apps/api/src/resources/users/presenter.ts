import type { User } from '@bloomery/database'
import { presentMetadata } from '../../http/metadata.js'

/** Service accounts that hold roles have neither username nor origin. */
export const presentUser = (user: User, baseUrl: string) => ({
  guid: user.guid,
  created_at: user.createdAt.toISOString(),
  updated_at: user.updatedAt.toISOString(),
  username: user.username,
  presentation_name: user.username ?? user.guid,
  origin: user.username === null ? null : user.origin,
  metadata: presentMetadata(user),
  links: { self: { href: `${baseUrl}/v3/users/${encodeURIComponent(user.guid)}` } },
})
