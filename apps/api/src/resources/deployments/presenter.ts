import type { Deployment } from '@bloomery/database'
import { presentMetadata } from '../../http/metadata.js'

export const presentDeployment = (deployment: Deployment, baseUrl: string) => {
  const self = `${baseUrl}/v3/deployments/${deployment.guid}`
  const asked = deployment.options as Record<string, number | null>
  const given = Object.fromEntries(Object.entries(asked).filter(([, value]) => typeof value === 'number'))
  const isCancelable = deployment.statusValue === 'ACTIVE' && deployment.statusReason !== 'CANCELING'
  return {
    guid: deployment.guid,
    created_at: deployment.createdAt.toISOString(),
    updated_at: deployment.updatedAt.toISOString(),
    status: {
      value: deployment.statusValue,
      reason: deployment.statusReason,
      details: {
        last_successful_healthcheck: deployment.lastHealthyAt.toISOString(),
        last_status_change: deployment.lastStatusChangeAt.toISOString(),
        ...(deployment.detail === null ? {} : { error: deployment.detail }),
      },
    },
    strategy: deployment.strategy,
    options: { max_in_flight: 1, ...given },
    droplet: { guid: deployment.dropletGuid },
    previous_droplet: { guid: deployment.previousDropletGuid },
    new_processes: deployment.newProcessGuid === null ? [] : [{ guid: deployment.newProcessGuid, type: 'web' }],
    revision: null,
    relationships: { app: { data: { guid: deployment.appGuid } } },
    metadata: presentMetadata(deployment),
    links: {
      self: { href: self },
      app: { href: `${baseUrl}/v3/apps/${deployment.appGuid}` },
      ...(isCancelable ? { cancel: { href: `${self}/actions/cancel`, method: 'POST' } } : {}),
    },
  }
}
