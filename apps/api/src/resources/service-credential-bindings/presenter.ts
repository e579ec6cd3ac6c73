import type { CredentialBinding } from '@bloomery/database'
import { presentMetadata } from '../../http/metadata.js'

/** A binding without its credentials, which stand below it as details. */
export const presentBinding = (binding: CredentialBinding, baseUrl: string) => {
  const self = `${baseUrl}/v3/service_credential_bindings/${binding.guid}`
  return {
    guid: binding.guid,
    created_at: binding.createdAt.toISOString(),
    updated_at: binding.updatedAt.toISOString(),
    name: binding.name,
    type: binding.type,
    last_operation: binding.lastOperation,
    metadata: presentMetadata(binding),
    relationships: {
      ...(binding.appGuid === null ? {} : { app: { data: { guid: binding.appGuid } } }),
      service_instance: { data: { guid: binding.serviceInstanceGuid } },
    },
    links: {
      self: { href: self },
      details: { href: `${self}/details` },
      parameters: { href: `${self}/parameters` },
      service_instance: { href: `${baseUrl}/v3/service_instances/${binding.serviceInstanceGuid}` },
      ...(binding.appGuid === null ? {} : { app: { href: `${baseUrl}/v3/apps/${binding.appGuid}` } }),
    },
  }
}
