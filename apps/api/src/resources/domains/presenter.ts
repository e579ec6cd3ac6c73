import type { Domain } from '@bloomery/database'
import { presentMetadata } from '../../http/metadata.js'

/** A domain with those organizations it is shared with that the caller may see. */
export type DomainWithSharings = Domain & { sharings: readonly { organizationGuid: string }[] }

export const presentDomain = (domain: DomainWithSharings, baseUrl: string) => {
  const self = `${baseUrl}/v3/domains/${domain.guid}`
  const owner = domain.organizationGuid
  return {
    guid: domain.guid,
    created_at: domain.createdAt.toISOString(),
    updated_at: domain.updatedAt.toISOString(),
    name: domain.name,
    internal: domain.internal,
    router_group: domain.routerGroupGuid === null ? null : { guid: domain.routerGroupGuid },
    supported_protocols: domain.routerGroupGuid === null ? ['http'] : ['tcp'],
    relationships: {
      organization: { data: owner === null ? null : { guid: owner } },
      shared_organizations: { data: domain.sharings.map(({ organizationGuid }) => ({ guid: organizationGuid })) },
    },
    metadata: presentMetadata(domain),
    links: {
      self: { href: self },
      route_reservations: { href: `${self}/route_reservations` },
      ...(owner === null
        ? {}
        : {
            organization: { href: `${baseUrl}/v3/organizations/${owner}` },
            shared_organizations: { href: `${self}/relationships/shared_organizations` },
          }),
    },
  }
}
