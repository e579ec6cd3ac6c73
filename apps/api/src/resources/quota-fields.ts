import { z } from 'zod'
import { Integer } from '../http/bodies.js'

const MAX_INT = 2_147_483_647
const Limit = Integer.pipe(
  z.number().min(0, 'must be greater than or equal to 0').max(MAX_INT, `must be less than or equal to ${MAX_INT}`),
).nullable()
const ByteLimit = Integer.pipe(z.number().min(0, 'must be greater than or equal to 0')).nullable()

/** The groups of limits as they are written; null is unlimited, absent leaves what is there. */
export const QuotaLimitsInput = {
  apps: z
    .strictObject({
      total_memory_in_mb: Limit.optional(),
      per_process_memory_in_mb: Limit.optional(),
      total_instances: Limit.optional(),
      per_app_tasks: Limit.optional(),
      log_rate_limit_in_bytes_per_second: ByteLimit.optional(),
    })
    .optional(),
  services: z
    .strictObject({
      paid_services_allowed: z.boolean('must be a boolean').nullable().optional(),
      total_service_instances: Limit.optional(),
      total_service_keys: Limit.optional(),
    })
    .optional(),
  routes: z.strictObject({ total_routes: Limit.optional(), total_reserved_ports: Limit.optional() }).optional(),
}
export const QuotaLimitsSchema = z.object(QuotaLimitsInput)
export const DomainLimitsInput = z.strictObject({ total_domains: Limit.optional() }).optional()

/** Columns that both kinds of quota have. */
export interface QuotaColumns {
  readonly totalMemoryMb: number | null
  readonly perProcessMemoryMb: number | null
  readonly totalInstances: number | null
  readonly perAppTasks: number | null
  readonly logRateLimitBytes: bigint | null
  readonly paidServicesAllowed: boolean
  readonly totalServiceInstances: number | null
  readonly totalServiceKeys: number | null
  readonly totalRoutes: number | null
  readonly totalReservedPorts: number | null
}

/** The columns that an input changes. */
export function quotaColumns({ apps, services, routes }: z.infer<typeof QuotaLimitsSchema>): Partial<QuotaColumns> {
  const logRate = apps?.log_rate_limit_in_bytes_per_second
  const columns = {
    totalMemoryMb: apps?.total_memory_in_mb,
    perProcessMemoryMb: apps?.per_process_memory_in_mb,
    totalInstances: apps?.total_instances,
    perAppTasks: apps?.per_app_tasks,
    logRateLimitBytes: logRate == null ? logRate : BigInt(logRate),
    paidServicesAllowed: services?.paid_services_allowed ?? undefined,
    totalServiceInstances: services?.total_service_instances,
    totalServiceKeys: services?.total_service_keys,
    totalRoutes: routes?.total_routes,
    totalReservedPorts: routes?.total_reserved_ports,
  }
  return Object.fromEntries(Object.entries(columns).filter(([, value]) => value !== undefined))
}

/** All three groups, always: the client crashes where one is missing. */
export const presentQuotaLimits = (quota: QuotaColumns) => ({
  apps: {
    total_memory_in_mb: quota.totalMemoryMb,
    per_process_memory_in_mb: quota.perProcessMemoryMb,
    total_instances: quota.totalInstances,
    per_app_tasks: quota.perAppTasks,
    log_rate_limit_in_bytes_per_second: quota.logRateLimitBytes === null ? null : Number(quota.logRateLimitBytes),
  },
  services: {
    paid_services_allowed: quota.paidServicesAllowed,
    total_service_instances: quota.totalServiceInstances,
    total_service_keys: quota.totalServiceKeys,
  },
  routes: { total_routes: quota.totalRoutes, total_reserved_ports: quota.totalReservedPorts },
})
