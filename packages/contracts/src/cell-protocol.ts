import { z } from 'zod'
import { MachineLeftover } from './machine-leftover.js'
import { InstanceEndpoint, RunSpec, DropletSource } from './run-spec.js'

/**
 * Cell ↔ scheduler, over mutual TLS on the scheduler's internal listener. The cell's id is its certificate's common name
 * (`cell:<id>`); the scheduler lets it see and touch its own rows only. The agent pulls; commands are states, never verbs.
 *
 *   POST /v1/cells/register                    RegisterCell  → CellRegistered
 *   GET  /v1/cells/desired?after=R&epoch=E     → CellDesired  (answers at once when the cell's revision differs from R, else waits ≤ 20 s)
 *   POST /v1/cells/report                      CellReport    → CellReported  (on every change, and every 5 s as heartbeat)
 *   POST /v1/cells/droplets/deleted            AskDeleted    → DeletedDroplets
 *   POST /v1/cells/leftovers                   TellLeftovers → 204  (when they have changed, and once an hour)
 */
export const RegisterCell = z.object({
  /** New for each start of the agent process; reports of an older epoch are refused with 409. */
  epoch: z.string(),
  zone: z.string(),
  /** Address at which other machines reach published ports. */
  address: z.string(),
  engine: z.string(),
  stacks: z.array(z.string()),
  memoryMb: z.number().int(),
  diskMb: z.number().int(),
  maxInstances: z.number().int(),
  version: z.string(),
})
export type RegisterCell = z.infer<typeof RegisterCell>
export const CellRegistered = z.object({ cellId: z.string(), leaseToken: z.string() })
export type CellRegistered = z.infer<typeof CellRegistered>

/** One instance that the cell shall hold. */
export const WantedInstance = z.object({
  instanceGuid: z.string(),
  index: z.number().int(),
  /** `run`: shall be running. `stop`: routers have let go of it; SIGTERM, grace, SIGKILL, remove, then it vanishes from reports. */
  want: z.enum(['run', 'stop']),
  stopReason: z.string().optional(),
  spec: RunSpec,
  /** Environment in merge order applied already; absent for `stop`. Never written to disk in the clear. */
  environment: z.record(z.string(), z.string()).optional(),
  /** Files of bindings, by their paths below /etc/cf-service-bindings; in memory only, like the environment. */
  files: z.record(z.string(), z.string()).optional(),
  droplet: DropletSource,
})
export type WantedInstance = z.infer<typeof WantedInstance>
export const CellDesired = z.object({
  /** The scheduler's fencing token; the cell refuses documents with a lower one than it has seen. */
  leaseToken: z.string(),
  /** Opaque; equal means unchanged. */
  revision: z.string(),
  instances: z.array(WantedInstance),
  /** Container addresses of this cell that must not be given to an app other than the named one until they leave this list. */
  reservedAddresses: z.array(z.object({ address: z.string(), appGuid: z.string() })),
  draining: z.boolean(),
})
export type CellDesired = z.infer<typeof CellDesired>

/** What the cell sees of one instance. */
export const SeenInstance = z.object({
  instanceGuid: z.string(),
  processGuid: z.string(),
  specVersion: z.number().int(),
  index: z.number().int(),
  appGuid: z.string(),
  processType: z.string(),
  specGuid: z.string(),
  /** starting: container is being made or not yet healthy. running: healthy. crashed: exited or never healthy; kept until it vanishes from the wanted set. */
  state: z.enum(['starting', 'running', 'stopping', 'crashed']),
  /** When it entered that state, RFC 3339. */
  since: z.string(),
  routable: z.boolean(),
  endpoint: InstanceEndpoint.optional(),
  /** For crashed: CF's words, e.g. "APP/PROC/WEB: Exited with status 1 (out of memory)". */
  crashReason: z.string().optional(),
  exitStatus: z.number().int().optional(),
  /** A start that failed for the platform's sake (blob store away, engine away): not counted as a crash. */
  platformFault: z.boolean().optional(),
  /** Set when the agent restarted this index by itself while the scheduler was out of reach. */
  restartedLocally: z.boolean().optional(),
  memoryMb: z.number().int(),
  diskMb: z.number().int(),
})
export type SeenInstance = z.infer<typeof SeenInstance>
export const CellReport = z.object({
  epoch: z.string(),
  /** The desired revision that this report has taken into account. */
  appliedRevision: z.string(),
  /** Always the full set. */
  instances: z.array(SeenInstance),
  engineHealthy: z.boolean(),
  diskFree: z.number().optional(),
  draining: z.boolean(),
})
export type CellReport = z.infer<typeof CellReport>
export const CellReported = z.object({
  leaseToken: z.string(),
  /** An operator wants this cell's leftovers gone now. */
  leftoversAsked: z.boolean().optional(),
})
export type CellReported = z.infer<typeof CellReported>

/** Checksums of unpacked droplets from which nothing runs on the cell. */
export const AskDeleted = z.object({ epoch: z.string(), sha256s: z.array(z.string()) })
export type AskDeleted = z.infer<typeof AskDeleted>
/** Those of them that no app can be started from any more. */
export const DeletedDroplets = z.object({ sha256s: z.array(z.string()) })
export type DeletedDroplets = z.infer<typeof DeletedDroplets>
/** All that the cell keeps without need now; `tidied`: after what there was had been removed. */
export const TellLeftovers = z.object({ epoch: z.string(), leftovers: z.array(MachineLeftover), tidied: z.boolean() })
export type TellLeftovers = z.infer<typeof TellLeftovers>
