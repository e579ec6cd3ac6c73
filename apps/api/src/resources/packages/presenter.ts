import type { Package } from '@bloomery/database'
import { presentMetadata } from '../../http/metadata.js'

export const presentPackage = (row: Package, baseUrl: string) => {
  const self = `${baseUrl}/v3/packages/${row.guid}`
  return {
    guid: row.guid,
    created_at: row.createdAt.toISOString(),
    updated_at: row.updatedAt.toISOString(),
    type: row.type,
    data: { error: row.error, checksum: { type: 'sha256', value: row.sha256 } },
    state: row.state,
    relationships: { app: { data: { guid: row.appGuid } } },
    metadata: presentMetadata(row),
    links: {
      self: { href: self },
      upload: { href: `${self}/upload`, method: 'POST' },
      download: { href: `${self}/download`, method: 'GET' },
      app: { href: `${baseUrl}/v3/apps/${row.appGuid}` },
    },
  }
}
