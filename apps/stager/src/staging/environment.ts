import type { ClaimedBuild } from '../builds/build-record.js'

/**
 * What buildpacks see. Later wins: the machine's client settings (registries, proxies), what the API froze (staging group, the app's
 * variables, VCAP_*), and what the platform itself sets.
 */
export function stagingEnvironment(
  build: Pick<ClaimedBuild, 'stack' | 'memoryMb'>,
  frozen: Readonly<Record<string, string>>,
  clientSettings: Readonly<Record<string, string>>,
  hostAddress: string,
): Record<string, string> {
  const machines = Object.keys(clientSettings).filter((name) => !(name in frozen))
  return {
    ...clientSettings,
    // Which of these are the machine's and not the app's: where the app's own files say otherwise, they give way.
    BLOOMERY_CLIENT_SETTINGS: machines.sort().join(' '),
    // Compilers and packers that would write today's date write this one: the same input gives the same droplet. Python's compiled files
    // refer to their sources by content then, and not by a date that no archive keeps.
    SOURCE_DATE_EPOCH: '315532800',
    LANG: 'en_US.UTF-8',
    VCAP_SERVICES: '{}',
    ...frozen,
    CF_STACK: build.stack,
    CF_INSTANCE_ADDR: '',
    CF_INSTANCE_IP: hostAddress,
    CF_INSTANCE_INTERNAL_IP: hostAddress,
    CF_INSTANCE_PORT: '',
    CF_INSTANCE_PORTS: '[]',
    CF_SYSTEM_CERT_PATH: '/etc/cf-system-certificates',
    HOME: '/home/vcap',
    MEMORY_LIMIT: frozen['MEMORY_LIMIT'] ?? `${build.memoryMb}m`,
    PATH: frozen['PATH'] ?? '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    USER: 'vcap',
  }
}
