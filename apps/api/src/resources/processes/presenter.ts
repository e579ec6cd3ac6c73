import type { Process } from '@bloomery/database'
import type { HealthCheckSettings } from '@bloomery/domain'
import { presentMetadata } from '../../http/metadata.js'

/** `redacted`: lists do not show commands, which may hold secrets. */
export const presentProcess = (process: Process, baseUrl: string, command: string | null, redacted = false) => {
  const self = `${baseUrl}/v3/processes/${process.guid}`
  const health = process.healthCheck as unknown as HealthCheckSettings
  const readiness = process.readinessHealthCheck as unknown as HealthCheckSettings
  return {
    guid: process.guid,
    created_at: process.createdAt.toISOString(),
    updated_at: process.updatedAt.toISOString(),
    version: process.version,
    type: process.type,
    command: redacted ? (command === null ? null : '[PRIVATE DATA HIDDEN IN LISTS]') : command,
    user: 'vcap',
    instances: process.instances,
    memory_in_mb: process.memoryMb,
    disk_in_mb: process.diskMb,
    log_rate_limit_in_bytes_per_second: Number(process.logRateLimit),
    health_check: {
      type: health.type,
      data: {
        timeout: health.timeout ?? null,
        invocation_timeout: health.invocationTimeout ?? null,
        interval: health.interval ?? null,
        ...(health.type === 'http' ? { endpoint: health.endpoint ?? '/' } : {}),
      },
    },
    readiness_health_check: {
      type: readiness.type,
      data: {
        invocation_timeout: readiness.invocationTimeout ?? null,
        interval: readiness.interval ?? null,
        ...(readiness.type === 'http' ? { endpoint: readiness.endpoint ?? '/' } : {}),
      },
    },
    relationships: { app: { data: { guid: process.appGuid } }, revision: null },
    metadata: presentMetadata(process),
    links: {
      self: { href: self },
      scale: { href: `${self}/actions/scale`, method: 'POST' },
      app: { href: `${baseUrl}/v3/apps/${process.appGuid}` },
      stats: { href: `${self}/stats` },
      process_instances: { href: `${self}/process_instances` },
    },
  }
}
