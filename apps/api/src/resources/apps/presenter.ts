import type { App } from '@bloomery/database'
import { presentMetadata } from '../../http/metadata.js'

/** Addresses of buildpacks may hold credentials, which nobody is shown again. */
export const maskCredentials = (address: string): string => address.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/@]+@/i, '$1***:***@')

export const presentApp = (app: App, baseUrl: string) => {
  const self = `${baseUrl}/v3/apps/${app.guid}`
  return {
    guid: app.guid,
    created_at: app.createdAt.toISOString(),
    updated_at: app.updatedAt.toISOString(),
    name: app.name,
    state: app.state,
    lifecycle: { type: app.lifecycleType, data: { buildpacks: app.buildpacks.map(maskCredentials), stack: app.stack } },
    relationships: {
      space: { data: { guid: app.spaceGuid } },
      current_droplet: { data: app.currentDropletGuid === null ? null : { guid: app.currentDropletGuid } },
    },
    metadata: presentMetadata(app),
    links: {
      self: { href: self },
      environment_variables: { href: `${self}/environment_variables` },
      space: { href: `${baseUrl}/v3/spaces/${app.spaceGuid}` },
      processes: { href: `${self}/processes` },
      packages: { href: `${self}/packages` },
      current_droplet: { href: `${self}/droplets/current` },
      droplets: { href: `${self}/droplets` },
      tasks: { href: `${self}/tasks` },
      start: { href: `${self}/actions/start`, method: 'POST' },
      stop: { href: `${self}/actions/stop`, method: 'POST' },
      clear_buildpack_cache: { href: `${self}/actions/clear_buildpack_cache`, method: 'POST' },
      revisions: { href: `${self}/revisions` },
      deployed_revisions: { href: `${self}/revisions/deployed` },
      features: { href: `${self}/features` },
    },
  }
}
