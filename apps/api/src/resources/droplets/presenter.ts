import type { Droplet } from '@bloomery/database'
import { presentMetadata } from '../../http/metadata.js'
import { maskCredentials } from '../apps/presenter.js'

interface UsedBuildpack {
  readonly name: string
  readonly detect_output?: string | null
  readonly version?: string | null
  readonly buildpack_name?: string | null
}

export const presentDroplet = (droplet: Droplet, baseUrl: string) => {
  const self = `${baseUrl}/v3/droplets/${droplet.guid}`
  const isStaged = droplet.state === 'STAGED'
  return {
    guid: droplet.guid,
    created_at: droplet.createdAt.toISOString(),
    updated_at: droplet.updatedAt.toISOString(),
    state: droplet.state,
    error: droplet.error,
    lifecycle: { type: droplet.lifecycleType, data: {} },
    execution_metadata: droplet.executionMetadata,
    process_types: droplet.processTypes,
    checksum: droplet.sha256 === null ? null : { type: 'sha256', value: droplet.sha256 },
    buildpacks: (droplet.buildpacks as unknown as UsedBuildpack[]).map((each) => ({
      name: maskCredentials(each.name),
      detect_output: each.detect_output ?? null,
      version: each.version ?? null,
      buildpack_name: each.buildpack_name ?? null,
    })),
    stack: droplet.stack,
    image: droplet.image,
    metadata: presentMetadata(droplet),
    relationships: { app: { data: { guid: droplet.appGuid } } },
    links: {
      self: { href: self },
      app: { href: `${baseUrl}/v3/apps/${droplet.appGuid}` },
      assign_current_droplet: {
        href: `${baseUrl}/v3/apps/${droplet.appGuid}/relationships/current_droplet`,
        method: 'PATCH',
      },
      ...(droplet.packageGuid === null ? {} : { package: { href: `${baseUrl}/v3/packages/${droplet.packageGuid}` } }),
      ...(droplet.state === 'AWAITING_UPLOAD' ? { upload: { href: `${self}/upload`, method: 'POST' } } : {}),
      ...(isStaged ? { download: { href: `${self}/download` } } : {}),
    },
  }
}
