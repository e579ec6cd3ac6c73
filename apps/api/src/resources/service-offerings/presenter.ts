import type { ServiceOffering } from '@bloomery/database'
import { z } from 'zod'
import { presentMetadata } from '../../http/metadata.js'

const CatalogMetadata = z.looseObject({ shareable: z.unknown().optional(), documentationUrl: z.unknown().optional() })

/** Whether instances may be used from other spaces too. */
export const isShareable = (offering: Pick<ServiceOffering, 'catalogMetadata'>): boolean =>
  CatalogMetadata.safeParse(offering.catalogMetadata).data?.shareable === true

export const documentationUrlOf = (offering: Pick<ServiceOffering, 'catalogMetadata'>): string => {
  const url = CatalogMetadata.safeParse(offering.catalogMetadata).data?.documentationUrl
  return typeof url === 'string' ? url : ''
}

export const presentServiceOffering = (offering: ServiceOffering, baseUrl: string) => ({
  guid: offering.guid,
  created_at: offering.createdAt.toISOString(),
  updated_at: offering.updatedAt.toISOString(),
  name: offering.name,
  description: offering.description,
  available: offering.available,
  tags: offering.tags,
  requires: offering.requires,
  shareable: isShareable(offering),
  documentation_url: documentationUrlOf(offering),
  broker_catalog: {
    id: offering.catalogId,
    metadata: offering.catalogMetadata,
    features: {
      plan_updateable: offering.planUpdateable,
      bindable: offering.bindable,
      instances_retrievable: offering.instancesRetrievable,
      bindings_retrievable: offering.bindingsRetrievable,
      allow_context_updates: offering.allowContextUpdates,
    },
  },
  relationships: { service_broker: { data: { guid: offering.brokerGuid } } },
  metadata: presentMetadata(offering),
  links: {
    self: { href: `${baseUrl}/v3/service_offerings/${offering.guid}` },
    service_plans: { href: `${baseUrl}/v3/service_plans?service_offering_guids=${offering.guid}` },
    service_broker: { href: `${baseUrl}/v3/service_brokers/${offering.brokerGuid}` },
  },
})
