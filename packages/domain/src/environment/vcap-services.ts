/** A credential binding as the app sees it. */
export interface BoundService {
  /** Name of the offering, or `user-provided`. */
  readonly label: string
  /** null for a user-provided one. */
  readonly plan: string | null
  readonly tags: readonly string[]
  readonly instanceGuid: string
  readonly instanceName: string
  readonly bindingGuid: string
  readonly bindingName: string | null
  readonly credentials: Readonly<Record<string, unknown>>
  readonly syslogDrainUrl: string | null
  readonly volumeMounts: readonly unknown[]
  readonly createdAt: Date
}

/** The bindings that count, in order of creation: of several of one instance only the newest. */
export function effectiveBindings(bindings: readonly BoundService[]): BoundService[] {
  const newest = new Map<string, BoundService>()
  for (const binding of byAge(bindings)) {
    newest.delete(binding.instanceGuid)
    newest.set(binding.instanceGuid, binding)
  }
  return [...newest.values()]
}

/** The value of VCAP_SERVICES: by label, in order of creation. */
export function vcapServices(bindings: readonly BoundService[]): Record<string, Record<string, unknown>[]> {
  const services: Record<string, Record<string, unknown>[]> = {}
  for (const binding of effectiveBindings(bindings)) (services[binding.label] ??= []).push(presentBinding(binding))
  return services
}

const byAge = (bindings: readonly BoundService[]): BoundService[] =>
  [...bindings].sort((a, b) => a.createdAt.getTime() - b.createdAt.getTime() || (a.bindingGuid < b.bindingGuid ? -1 : 1))

/** One entry of VCAP_SERVICES. */
export const presentBinding = (binding: BoundService): Record<string, unknown> => ({
  label: binding.label,
  ...(binding.plan === null ? {} : { provider: null, plan: binding.plan }),
  name: binding.bindingName ?? binding.instanceName,
  tags: [...new Set(binding.tags)],
  instance_guid: binding.instanceGuid,
  instance_name: binding.instanceName,
  binding_guid: binding.bindingGuid,
  binding_name: binding.bindingName,
  credentials: binding.credentials,
  syslog_drain_url: binding.syslogDrainUrl,
  volume_mounts: binding.volumeMounts,
})

const DATABASE_SCHEMES: Readonly<Record<string, string>> = {
  'mysql:': 'mysql2:',
  'mysql2:': 'mysql2:',
  'postgres:': 'postgres:',
  'postgresql:': 'postgres:',
}

/** DATABASE_URL: the first bound credential `uri` that names a database, in the spelling that frameworks expect. */
export function databaseUrl(bindings: readonly BoundService[]): string | undefined {
  for (const { credentials } of effectiveBindings(bindings)) {
    const uri = credentials['uri']
    if (typeof uri !== 'string') continue
    const scheme = /^[a-z0-9]+:(?=\/\/)/i.exec(uri)?.[0].toLowerCase()
    const spelled = scheme === undefined ? undefined : DATABASE_SCHEMES[scheme]
    if (scheme !== undefined && spelled !== undefined) return spelled + uri.slice(scheme.length)
  }
  return undefined
}
