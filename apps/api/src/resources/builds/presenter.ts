import type { Build } from '@bloomery/database'
import { presentMetadata } from '../../http/metadata.js'
import { maskCredentials } from '../apps/presenter.js'

export const presentBuild = (build: Build, baseUrl: string) => {
  const droplet = build.state === 'STAGED' && build.dropletGuid !== null ? build.dropletGuid : null
  return {
    guid: build.guid,
    created_at: build.createdAt.toISOString(),
    updated_at: build.updatedAt.toISOString(),
    created_by: { guid: build.createdByGuid, name: build.createdByName, email: build.createdByName },
    state: build.state,
    staging_memory_in_mb: build.stagingMemoryMb,
    staging_disk_in_mb: build.stagingDiskMb,
    staging_log_rate_limit_bytes_per_second: Number(build.logRateLimit),
    error: build.error,
    lifecycle: { type: build.lifecycleType, data: { buildpacks: build.buildpacks.map(maskCredentials), stack: build.stack } },
    package: { guid: build.packageGuid },
    droplet: droplet === null ? null : { guid: droplet },
    relationships: { app: { data: { guid: build.appGuid } } },
    metadata: presentMetadata(build),
    links: {
      self: { href: `${baseUrl}/v3/builds/${build.guid}` },
      app: { href: `${baseUrl}/v3/apps/${build.appGuid}` },
      ...(droplet === null ? {} : { droplet: { href: `${baseUrl}/v3/droplets/${droplet}` } }),
    },
  }
}
