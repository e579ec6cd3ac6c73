import type { ServiceBroker } from '@bloomery/database'
import { presentMetadata } from '../../http/metadata.js'

/** A broker without its credentials. */
export const presentServiceBroker = (broker: ServiceBroker, baseUrl: string) => ({
  guid: broker.guid,
  created_at: broker.createdAt.toISOString(),
  updated_at: broker.updatedAt.toISOString(),
  name: broker.name,
  url: broker.url,
  relationships: broker.spaceGuid === null ? {} : { space: { data: { guid: broker.spaceGuid } } },
  metadata: presentMetadata(broker),
  links: {
    self: { href: `${baseUrl}/v3/service_brokers/${broker.guid}` },
    service_offerings: { href: `${baseUrl}/v3/service_offerings?service_broker_guids=${broker.guid}` },
    ...(broker.spaceGuid === null ? {} : { space: { href: `${baseUrl}/v3/spaces/${broker.spaceGuid}` } }),
  },
})
