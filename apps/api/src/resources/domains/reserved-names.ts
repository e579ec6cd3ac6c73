import type { ApiSettings } from '../../settings.js'

/** Names below the system domain that are the platform's own, besides those at which the API answers. */
const SYSTEM_HOSTS = ['console', 'ssh']

/** Whether a route of this full name would take an address of the platform itself. */
export function isReservedHost(settings: Pick<ApiSettings, 'apiHosts' | 'systemDomain'>, fqdn: string): boolean {
  const { apiHosts, systemDomain } = settings
  return fqdn === systemDomain || apiHosts.has(fqdn) || SYSTEM_HOSTS.some((host) => fqdn === `${host}.${systemDomain}`)
}

/** Domains may not lie at or below the system domain either, whatever hosts they would have. */
export const isReservedDomain = (settings: Pick<ApiSettings, 'apiHosts' | 'systemDomain'>, name: string): boolean =>
  isReservedHost(settings, name) || name.endsWith(`.${settings.systemDomain}`)
