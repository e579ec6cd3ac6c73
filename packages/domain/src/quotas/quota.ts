/** What may be counted against a quota. Bytes as bigint: log rates outgrow numbers only in sums, but they are stored so. */
export interface QuotaUsage {
  readonly memoryMb: number
  readonly instances: number
  readonly logRateBytes: bigint
  readonly routes: number
  readonly reservedPorts: number
  readonly serviceInstances: number
  readonly serviceKeys: number
  readonly domains: number
}

/** Limits of an organization or a space; null is unlimited. */
export interface QuotaLimits {
  readonly totalMemoryMb: number | null
  readonly perProcessMemoryMb: number | null
  readonly totalInstances: number | null
  readonly logRateLimitBytes: bigint | null
  readonly totalRoutes: number | null
  readonly totalReservedPorts: number | null
  readonly totalServiceInstances: number | null
  readonly totalServiceKeys: number | null
  /** Organizations only. */
  readonly totalDomains?: number | null
}

export const EMPTY_USAGE: QuotaUsage = {
  memoryMb: 0,
  instances: 0,
  logRateBytes: 0n,
  routes: 0,
  reservedPorts: 0,
  serviceInstances: 0,
  serviceKeys: 0,
  domains: 0,
}

/** A process as far as quotas count it. A stopped app counts nothing. */
export interface CountedProcess {
  readonly instances: number
  readonly memoryMb: number
  /** Bytes per second; -1 is unlimited. */
  readonly logRateLimit: bigint
}

/** What running processes use. An unlimited log rate counts as nothing here; it is refused by itself where a limit exists. */
export function usageOfProcesses(processes: readonly CountedProcess[]): QuotaUsage {
  return processes.reduce<QuotaUsage>(
    (sum, { instances, memoryMb, logRateLimit }) => ({
      ...sum,
      memoryMb: sum.memoryMb + instances * memoryMb,
      instances: sum.instances + instances,
      logRateBytes: sum.logRateBytes + (logRateLimit > 0n ? BigInt(instances) * logRateLimit : 0n),
    }),
    EMPTY_USAGE,
  )
}

export type QuotaScope = 'organization' | 'space'
export interface QuotaViolation {
  readonly scope: QuotaScope
  readonly limit: keyof QuotaLimits
  /** Cloud Foundry's phrase, e.g. "memory quota_exceeded". */
  readonly phrase: string
  readonly allowed: bigint
  /** What would be used after the change. */
  readonly needed: bigint
}

const COUNTED = {
  totalMemoryMb: { usage: 'memoryMb', organization: 'memory quota_exceeded', space: 'memory space_quota_exceeded' },
  totalInstances: {
    usage: 'instances',
    organization: 'app_instance_limit app_instance_limit_exceeded',
    space: 'app_instance_limit space_app_instance_limit_exceeded',
  },
  logRateLimitBytes: {
    usage: 'logRateBytes',
    organization: 'log_rate_limit exceeds_organization_log_rate_quota',
    space: 'log_rate_limit exceeds_space_log_rate_quota',
  },
  totalRoutes: { usage: 'routes', organization: 'routes org_quota_exceeded', space: 'routes space_quota_exceeded' },
  totalReservedPorts: {
    usage: 'reservedPorts',
    organization: 'reserved_route_ports org_quota_exceeded',
    space: 'reserved_route_ports space_quota_exceeded',
  },
  totalServiceInstances: {
    usage: 'serviceInstances',
    organization: 'service_instance quota_exceeded',
    space: 'service_instance space_quota_exceeded',
  },
  totalServiceKeys: {
    usage: 'serviceKeys',
    organization: 'service_key quota_exceeded',
    space: 'service_key space_quota_exceeded',
  },
  totalDomains: { usage: 'domains', organization: 'domains quota_exceeded', space: 'domains quota_exceeded' },
} as const satisfies Partial<Record<keyof QuotaLimits, { usage: keyof QuotaUsage; organization: string; space: string }>>

/**
 * The limits that a change would break. Only what grows is judged: whoever is over a quota that was lowered later may still shrink or stay.
 */
export function quotaViolations(scope: QuotaScope, limits: QuotaLimits, before: QuotaUsage, after: QuotaUsage): QuotaViolation[] {
  const violations: QuotaViolation[] = []
  for (const [limit, { usage, [scope]: phrase }] of Object.entries(COUNTED) as [
    keyof typeof COUNTED,
    (typeof COUNTED)[keyof typeof COUNTED],
  ][]) {
    const allowed = limits[limit]
    if (allowed === null || allowed === undefined) continue
    const needed = BigInt(after[usage])
    if (needed > BigInt(before[usage]) && needed > BigInt(allowed))
      violations.push({ scope, limit, phrase, allowed: BigInt(allowed), needed })
  }
  return violations
}

/** The limits that concern one process by itself: memory per instance, and an unlimited log rate where the sum is limited. */
export function processViolations(
  scope: QuotaScope,
  limits: QuotaLimits,
  process: { readonly memoryMb: number; readonly logRateLimit: bigint },
): QuotaViolation[] {
  const violations: QuotaViolation[] = []
  const { perProcessMemoryMb, logRateLimitBytes } = limits
  if (perProcessMemoryMb !== null && process.memoryMb > perProcessMemoryMb)
    violations.push({
      scope,
      limit: 'perProcessMemoryMb',
      phrase: scope === 'space' ? 'memory space_instance_memory_limit_exceeded' : 'memory instance_memory_limit_exceeded',
      allowed: BigInt(perProcessMemoryMb),
      needed: BigInt(process.memoryMb),
    })
  if (logRateLimitBytes !== null && process.logRateLimit < 0n)
    violations.push({
      scope,
      limit: 'logRateLimitBytes',
      phrase: `log_rate_limit cannot be unlimited in ${scope} with a log rate limit`,
      allowed: logRateLimitBytes,
      needed: process.logRateLimit,
    })
  return violations
}
