import type { InstanceEndpoint } from '@bloomery/contracts'

export interface EnvironmentInput {
  readonly instanceGuid: string
  readonly index: number
  readonly memoryMb: number
  readonly endpoint: InstanceEndpoint
  /** Merged already: running group, app, platform. */
  readonly base: Readonly<Record<string, string>>
}

/** What a program inside sees: the platform's merged variables, and those that only the cell knows. */
export function instanceEnvironment(input: EnvironmentInput): Record<string, string> {
  const { instanceGuid, index, endpoint, base } = input
  const first = endpoint.ports[0]
  const port = String(first?.internal ?? 8080)
  const external = String(first?.external ?? '')
  const databaseUrl = base['DATABASE_URL'] ?? databaseUrlOf(base['VCAP_SERVICES'])
  const { VCAP_PLATFORM_OPTIONS: _platformOnly, ...kept } = base
  return {
    PATH: '/usr/local/bin:/usr/bin:/bin',
    LANG: 'en_US.UTF-8',
    MEMORY_LIMIT: `${input.memoryMb}m`,
    CF_SYSTEM_CERT_PATH: '/etc/cf-system-certificates',
    ...kept,
    ...(databaseUrl === undefined ? {} : { DATABASE_URL: databaseUrl }),
    HOME: '/home/vcap/app',
    USER: 'vcap',
    TMPDIR: '/home/vcap/tmp',
    DEPS_DIR: '/home/vcap/deps',
    PORT: port,
    VCAP_APP_PORT: port,
    VCAP_APP_HOST: '0.0.0.0',
    INSTANCE_GUID: instanceGuid,
    INSTANCE_INDEX: String(index),
    CF_INSTANCE_GUID: instanceGuid,
    CF_INSTANCE_INDEX: String(index),
    CF_INSTANCE_IP: endpoint.hostAddress,
    CF_INSTANCE_INTERNAL_IP: endpoint.address,
    CF_INSTANCE_PORT: external,
    CF_INSTANCE_ADDR: `${endpoint.hostAddress}:${external}`,
    CF_INSTANCE_PORTS: JSON.stringify(endpoint.ports.map(({ external: outside, internal }) => ({ external: outside, internal }))),
    VCAP_APPLICATION: JSON.stringify({
      ...parseObject(base['VCAP_APPLICATION']),
      host: '0.0.0.0',
      port: Number(port),
      instance_id: instanceGuid,
      instance_index: index,
    }),
  }
}

const SCHEMES: Readonly<Record<string, string>> = {
  mysql: 'mysql2',
  mysql2: 'mysql2',
  postgres: 'postgres',
  postgresql: 'postgres',
}

/** The first bound credential `uri` of a database, in the scheme that frameworks expect. */
export function databaseUrlOf(vcapServices: string | undefined): string | undefined {
  for (const bindings of Object.values(parseObject(vcapServices))) {
    if (!Array.isArray(bindings)) continue
    for (const binding of bindings as unknown[]) {
      const uri = (binding as { credentials?: { uri?: unknown } } | null)?.credentials?.uri
      const [, scheme, rest] = typeof uri === 'string' ? (/^([a-z0-9]+):(\/\/.*)$/s.exec(uri) ?? []) : []
      const wanted = scheme === undefined ? undefined : SCHEMES[scheme]
      if (wanted !== undefined && rest !== undefined) return `${wanted}:${rest}`
    }
  }
  return undefined
}

function parseObject(json: string | undefined): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(json ?? '{}')
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
  } catch {
    return {} // set by hand to something else: the instance's own keys alone remain
  }
}
