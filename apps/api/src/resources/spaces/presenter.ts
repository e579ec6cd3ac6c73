import type { Space } from '@bloomery/database'
import { presentMetadata } from '../../http/metadata.js'

export const presentSpace = (space: Space, baseUrl: string) => {
  const self = `${baseUrl}/v3/spaces/${space.guid}`
  return {
    guid: space.guid,
    created_at: space.createdAt.toISOString(),
    updated_at: space.updatedAt.toISOString(),
    name: space.name,
    relationships: {
      organization: { data: { guid: space.organizationGuid } },
      quota: { data: space.quotaGuid === null ? null : { guid: space.quotaGuid } },
    },
    metadata: presentMetadata(space),
    links: {
      self: { href: self },
      organization: { href: `${baseUrl}/v3/organizations/${space.organizationGuid}` },
      features: { href: `${self}/features` },
      apply_manifest: { href: `${self}/actions/apply_manifest`, method: 'POST' },
      ...(space.quotaGuid === null ? {} : { quota: { href: `${baseUrl}/v3/space_quotas/${space.quotaGuid}` } }),
    },
  }
}
