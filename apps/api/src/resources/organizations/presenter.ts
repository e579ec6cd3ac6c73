import type { Organization } from '@bloomery/database'
import { presentMetadata } from '../../http/metadata.js'

export const presentOrganization = (organization: Organization, baseUrl: string) => {
  const self = `${baseUrl}/v3/organizations/${organization.guid}`
  return {
    guid: organization.guid,
    created_at: organization.createdAt.toISOString(),
    updated_at: organization.updatedAt.toISOString(),
    name: organization.name,
    suspended: organization.suspended,
    relationships: { quota: { data: { guid: organization.quotaGuid } } },
    metadata: presentMetadata(organization),
    links: {
      self: { href: self },
      domains: { href: `${self}/domains` },
      default_domain: { href: `${self}/domains/default` },
      quota: { href: `${baseUrl}/v3/organization_quotas/${organization.quotaGuid}` },
    },
  }
}
