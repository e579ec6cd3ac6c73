import type { Buildpack } from '@bloomery/database'
import { presentMetadata } from '../../http/metadata.js'

export const presentBuildpack = (buildpack: Buildpack, baseUrl: string) => {
  const self = `${baseUrl}/v3/buildpacks/${buildpack.guid}`
  return {
    guid: buildpack.guid,
    created_at: buildpack.createdAt.toISOString(),
    updated_at: buildpack.updatedAt.toISOString(),
    name: buildpack.name,
    stack: buildpack.stack,
    state: buildpack.state,
    filename: buildpack.filename,
    position: buildpack.position,
    enabled: buildpack.enabled,
    locked: buildpack.locked,
    lifecycle: buildpack.lifecycle,
    metadata: presentMetadata(buildpack),
    links: { self: { href: self }, upload: { href: `${self}/upload`, method: 'POST' } },
  }
}
