import type { Role } from '@bloomery/database'

const toOne = (guid: string | null) => ({ data: guid === null ? null : { guid } })

export const presentRole = (role: Role, baseUrl: string) => ({
  guid: role.guid,
  created_at: role.createdAt.toISOString(),
  updated_at: role.updatedAt.toISOString(),
  type: role.type,
  relationships: {
    user: toOne(role.userGuid),
    organization: toOne(role.organizationGuid),
    space: toOne(role.spaceGuid),
  },
  links: {
    self: { href: `${baseUrl}/v3/roles/${role.guid}` },
    user: { href: `${baseUrl}/v3/users/${encodeURIComponent(role.userGuid)}` },
    ...(role.spaceGuid === null ? {} : { space: { href: `${baseUrl}/v3/spaces/${role.spaceGuid}` } }),
    ...(role.organizationGuid === null ? {} : { organization: { href: `${baseUrl}/v3/organizations/${role.organizationGuid}` } }),
  },
})
