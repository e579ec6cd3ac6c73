import { z } from 'zod'

export const HealthCheck = z.object({
  type: z.enum(['port', 'http', 'process']),
  /** Path for http. */
  endpoint: z.string().optional(),
  /** Startup limit, seconds; 60 when absent. */
  timeout: z.number().int().positive().optional(),
  /** One probe's limit, seconds; 1 when absent. */
  invocationTimeout: z.number().int().positive().optional(),
  /** Liveness interval, seconds; 30 when absent. */
  interval: z.number().int().positive().optional(),
})
export type HealthCheck = z.infer<typeof HealthCheck>

/** Where a cell finds the droplet. `sha256` names the unpacked folder; `url` is signed and expires, made anew with every sync. */
export const DropletSource = z.object({ sha256: z.string(), sizeBytes: z.number(), url: z.string().optional() })
export type DropletSource = z.infer<typeof DropletSource>

/**
 * All that an instance needs to run, frozen when the process was started. The environment is kept apart (encrypted in the
 * database, in memory only on cells); per-instance variables (PORT, CF_INSTANCE_*, VCAP_APPLICATION's instance keys) are added by the cell.
 */
export const RunSpec = z.object({
  guid: z.string(),
  version: z.number().int(),
  appGuid: z.string(),
  appName: z.string(),
  spaceGuid: z.string(),
  spaceName: z.string(),
  organizationGuid: z.string(),
  organizationName: z.string(),
  processGuid: z.string(),
  processType: z.string(),
  stack: z.string(),
  dropletGuid: z.string(),
  /** The user's or the droplet's start command; the launcher falls back on staging_info.yml when null. */
  command: z.string().nullable(),
  memoryMb: z.number().int(),
  diskMb: z.number().int(),
  /** Bytes per second; -1 unlimited, 0 nothing. */
  logRateLimit: z.number().int(),
  pidsLimit: z.number().int().default(1024),
  fileDescriptors: z.number().int().default(16384),
  /** 1..100, CF's weight: 100 × clamp(memory, 128 MB, 8 GB) / 8 GB. */
  cpuWeight: z.number().int(),
  /** Container ports, first is PORT. */
  ports: z.array(z.number().int()).default([8080]),
  healthCheck: HealthCheck,
  readinessHealthCheck: HealthCheck.default({ type: 'process' }),
  gracefulStopSeconds: z.number().default(10),
})
export type RunSpec = z.infer<typeof RunSpec>

/** How an instance is reached: by a router on the same machine at `address`, by others at `hostAddress` and the published port. */
export const InstanceEndpoint = z.object({
  /** The container's own address. */
  address: z.string(),
  /** The cell's address. */
  hostAddress: z.string(),
  ports: z.array(z.object({ internal: z.number().int(), external: z.number().int() })),
  /** Where the cell speaks TLS for its instances; absent: it does not. */
  tlsPort: z.number().int().optional(),
})
export type InstanceEndpoint = z.infer<typeof InstanceEndpoint>

export const InstanceState = z.enum(['unclaimed', 'claimed', 'running', 'crashed', 'stopping'])
export type InstanceState = z.infer<typeof InstanceState>
export const Presence = z.enum(['ordinary', 'evacuating', 'suspect'])
export type Presence = z.infer<typeof Presence>
