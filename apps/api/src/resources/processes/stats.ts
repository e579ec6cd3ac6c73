import { rows, sql, type Process } from '@bloomery/database'
import { FILE_DESCRIPTORS, shownInstances, type ShownInstance } from '@bloomery/domain'
import type { InstanceEndpoint } from '@bloomery/contracts'
import type { Context } from '../../http/context.js'
import type { InstanceUsage } from '../../logs/log-reader.js'

export interface InstanceRow {
  readonly processGuid: string
  readonly index: number
  readonly specVersion: number
  readonly presence: string
  readonly state: string
  readonly stateSince: Date
  readonly createdAt: Date
  readonly placementError: string | null
  readonly stopReason: string | null
  readonly crashReason: string | null
  readonly instanceGuid: string | null
  readonly routable: boolean
  readonly endpoint: InstanceEndpoint | null
  readonly memoryMb: number
  readonly diskMb: number
}

/** Rows of several processes in one query. What an earlier start left, and is being stopped, no longer counts as an instance. */
export async function readInstances(
  { pool }: Pick<Context, 'pool'>,
  processGuids: readonly string[],
): Promise<ReadonlyMap<string, InstanceRow[]>> {
  const found = await rows<InstanceRow>(
    pool,
    sql`SELECT i.process_guid AS "processGuid", i.index, i.spec_version AS "specVersion", i.presence, i.state,
          i.state_since AS "stateSince", i.created_at AS "createdAt", i.placement_error AS "placementError",
          i.stop_reason AS "stopReason", i.crash_reason AS "crashReason", i.instance_guid AS "instanceGuid", i.routable, i.endpoint,
          i.memory_mb AS "memoryMb", i.disk_mb AS "diskMb"
        FROM actual_instances i JOIN processes p ON p.guid = i.process_guid LEFT JOIN run_specs s ON s.guid = p.current_spec_guid
        WHERE i.process_guid = ANY(${[...processGuids]}) AND i.spec_version >= coalesce(s.version, 0)`,
  )
  const byProcess = new Map<string, InstanceRow[]>()
  for (const row of found) byProcess.set(row.processGuid, [...(byProcess.get(row.processGuid) ?? []), row])
  return byProcess
}

export type Shown = ShownInstance<InstanceRow>
export const showInstances = (process: Process, isStarted: boolean, found: readonly InstanceRow[]): Shown[] =>
  shownInstances(process.instances, found, isStarted && process.currentSpecGuid !== null)

/** CAPI's stats of one process. */
export function presentStats(
  process: Process,
  shown: readonly Shown[],
  usage: readonly InstanceUsage[],
  now: Date,
): Record<string, unknown>[] {
  return shown.map(({ index, state, details, row }) => {
    const uptime = row ? Math.max(0, Math.floor((now.getTime() - row.stateSince.getTime()) / 1000)) : 0
    const base = { type: process.type, index, state, routable: state === 'RUNNING' ? (row?.routable ?? false) : null }
    const endless = { isolation_segment: null, details: details ?? (state === 'CRASHED' ? (row?.crashReason ?? null) : null) }
    if (state === 'DOWN' || !row) return { ...base, uptime, log_rate_limit: Number(process.logRateLimit), usage: {}, ...endless }
    const used = usage.find((each) => each.instanceGuid === row.instanceGuid)
    return {
      ...base,
      ...(row.instanceGuid === null ? {} : { instance_guid: row.instanceGuid }),
      host: row.endpoint?.hostAddress ?? null,
      instance_internal_ip: row.endpoint?.address ?? null,
      instance_ports: (row.endpoint?.ports ?? []).map(({ internal, external }) => ({
        external,
        internal,
        external_tls_proxy_port: null,
        internal_tls_proxy_port: null,
      })),
      uptime,
      mem_quota: row.memoryMb * 1024 ** 2,
      disk_quota: row.diskMb * 1024 ** 2,
      log_rate_limit: Number(process.logRateLimit),
      fds_quota: FILE_DESCRIPTORS,
      usage: state === 'RUNNING' || state === 'STARTING' ? presentUsage(used, now) : {},
      ...endless,
    }
  })
}

const presentUsage = (used: InstanceUsage | undefined, now: Date) => ({
  time: used ? new Date(Number(BigInt(used.timestamp) / 1_000_000n)).toISOString() : now.toISOString(),
  cpu: used?.cpu ?? 0,
  cpu_entitlement: used?.cpuEntitlement ?? 0,
  mem: Math.round(used?.memoryBytes ?? 0),
  disk: Math.round(used?.diskBytes ?? 0),
  log_rate: Math.round(used?.logRateBytes ?? 0),
})

/** The short form that lists embed. */
export const presentInstances = (shown: readonly Shown[], now: Date) =>
  shown.map(({ index, state, row }) => ({
    index,
    state,
    since: row ? Math.max(0, Math.floor((now.getTime() - row.stateSince.getTime()) / 1000)) : 0,
  }))
