import type { CloudClient } from './cloud-client.js'
import { ClientError } from './errors.js'
import { type Changing, pollUntil } from './polling.js'
import type { Build, Deployment, InstanceStats, Package, Process } from './resources.js'
import { type LogEntry, newestLogTime, tailLogs } from './logs.js'

const STAGING_TIMEOUT_MS = 15 * 60_000
const START_TIMEOUT_MS = 5 * 60_000
/** How long lines of a finished build are waited for. */
const DRAIN_MS = 500

export interface StageOptions {
  readonly onLine?: (line: LogEntry) => void
  readonly timeoutMs?: number
}

/** Stages a package; resolves with the droplet's guid. Its output is told while it happens. */
export async function stagePackage(
  client: CloudClient,
  appGuid: string,
  packageGuid: string,
  options: StageOptions = {},
): Promise<string> {
  const stop = new AbortController()
  const from = (await newestLogTime(client, appGuid).catch(() => 0n)) + 1n
  const build = await client.post<Build>('/v3/builds', { package: { guid: packageGuid } })
  const tail = followStaging(client, appGuid, from, stop.signal, options.onLine ?? (() => undefined))
  try {
    const ended = await client.poll<Build>(`/v3/builds/${build.guid}`, ({ state }) => state !== 'STAGING', {
      timeoutMs: options.timeoutMs ?? STAGING_TIMEOUT_MS,
      what: 'the app to be staged',
    })
    if (ended.state === 'FAILED' || !ended.droplet)
      throw new ClientError('staging-failed', ended.error ?? 'Staging failed without a reason.')
    return ended.droplet.guid
  } finally {
    // The last lines may be a moment behind the build's state.
    setTimeout(() => stop.abort(), DRAIN_MS)
    await tail
  }
}

/** Staging does not hang on its log: when that cannot be read, it is silent. */
async function followStaging(
  client: CloudClient,
  appGuid: string,
  from: bigint,
  signal: AbortSignal,
  onLine: (line: LogEntry) => void,
): Promise<void> {
  try {
    for await (const line of tailLogs(client, appGuid, { from, signal })) if (line.sourceType === 'STG') onLine(line)
  } catch (error) {
    onLine({
      timestamp: 0n,
      instanceId: '0',
      sourceType: 'STG',
      stream: 'ERR',
      text: `(the staging log cannot be read: ${String(error)})`,
    })
  }
}

/**
 * Stages an app's newest package where it has no droplet yet; gives that new droplet's guid. An app whose newest package was
 * staged before keeps the droplet it has, for that may have been chosen on purpose.
 */
export async function stageIfNeeded(
  client: CloudClient,
  appGuid: string,
  options: StageOptions = {},
): Promise<string | undefined> {
  const newest = await client.findOne<Package>('/v3/packages', { app_guids: appGuid, order_by: '-created_at' })
  if (!newest) return undefined
  const droplet = await client.findOne<{ guid: string }>(`/v3/packages/${newest.guid}/droplets`, { states: 'STAGED' })
  return droplet ? undefined : stagePackage(client, appGuid, newest.guid, options)
}

export const setCurrentDroplet = (client: CloudClient, appGuid: string, dropletGuid: string): Promise<unknown> =>
  client.patch(`/v3/apps/${appGuid}/relationships/current_droplet`, { data: { guid: dropletGuid } })

export const processesOf = (client: CloudClient, appGuid: string): Promise<Process[]> =>
  client.list<Process>(`/v3/apps/${appGuid}/processes`)
export const statsOf = async (client: CloudClient, processGuid: string): Promise<InstanceStats[]> =>
  client.list<InstanceStats>(`/v3/processes/${processGuid}/stats`, { per_page: undefined })

export interface StartOptions extends Changing {
  /** Told of the instances at each look, until they have started. */
  readonly onInstances?: (processType: string, instances: readonly InstanceStats[]) => void
}

/** Waits until each process has a running instance, or none is wanted. Rejects as soon as all instances of one have crashed. */
export async function waitUntilStarted(client: CloudClient, appGuid: string, options: StartOptions = {}): Promise<void> {
  for (const process of await processesOf(client, appGuid)) await waitForProcess(client, process, options)
}

async function waitForProcess(
  client: CloudClient,
  process: { guid: string; type: string },
  { onInstances, ...options }: StartOptions,
): Promise<void> {
  const ask = async (): Promise<readonly InstanceStats[]> => {
    const path = `/v3/processes/${process.guid}/stats`
    const { resources } = await client.get<{ resources: InstanceStats[] }>(path, { headers: { prefer: 'wait=2' } })
    onInstances?.(process.type, resources)
    return resources
  }
  await pollUntil(ask, (stats) => isStarted(process.type, stats), {
    timeoutMs: START_TIMEOUT_MS,
    what: `process '${process.type}' to start; the app's log may tell why it did not`,
    ...options,
  })
}

function isStarted(type: string, stats: readonly InstanceStats[]): boolean {
  if (stats.length === 0 || stats.some(({ state }) => state === 'RUNNING')) return true
  if (!stats.every(({ state }) => state === 'CRASHED')) return false
  const reason = stats.find(({ details }) => details)?.details
  throw new ClientError(
    'start-failed',
    `Start unsuccessful: all instances of process '${type}' crashed${reason ? ` (${reason})` : ''}. The app's recent log tells more.`,
  )
}

export interface DeploymentOptions {
  readonly strategy: string
  /** Absent for a restart with the present droplet. */
  readonly dropletGuid?: string
  readonly maxInFlight?: number
  /** How long the new instances may take; default five minutes. */
  readonly timeoutMs?: number
  readonly scale?: {
    readonly instances?: number
    readonly memoryMb?: number
    readonly diskMb?: number
    readonly logRateBytes?: number
  }
}

/** Replaces an app's instances one after the other; rejects, and cancels, when the new ones do not start. */
export async function deploy(client: CloudClient, appGuid: string, options: DeploymentOptions): Promise<void> {
  const { strategy, dropletGuid, maxInFlight, scale } = options
  const scaled = scale && Object.values(scale).some((value) => value !== undefined)
  const settings = {
    ...(maxInFlight === undefined ? {} : { max_in_flight: maxInFlight }),
    ...(scaled
      ? {
          web_instances: scale.instances ?? null,
          memory_in_mb: scale.memoryMb ?? null,
          disk_in_mb: scale.diskMb ?? null,
          log_rate_limit_in_bytes_per_second: scale.logRateBytes ?? null,
        }
      : {}),
  }
  const created = await client.post<Deployment>('/v3/deployments', {
    strategy,
    ...(dropletGuid === undefined ? {} : { droplet: { guid: dropletGuid } }),
    ...(Object.keys(settings).length > 0 ? { options: settings } : {}),
    relationships: { app: { data: { guid: appGuid } } },
  })
  const path = `/v3/deployments/${created.guid}`
  const cancel = (): Promise<unknown> => client.request('POST', `${path}/actions/cancel`)
  try {
    const ended = await client.poll<Deployment>(path, isSettled, {
      timeoutMs: options.timeoutMs ?? START_TIMEOUT_MS,
      what: 'the deployment',
      whileWaiting: (deployment) => refuseCrashed(client, deployment),
    })
    if (ended.status.value === 'ACTIVE' || ended.status.reason === 'DEPLOYED') return
    const why = ended.status.details?.error
    throw new ClientError(
      'start-failed',
      `The deployment was ${ended.status.reason.toLowerCase()}${why ? `: ${why}` : '; the app runs as before.'}`,
    )
  } catch (error) {
    const unfinished = error instanceof ClientError && (error.kind === 'timeout' || error instanceof NewVersionCrashed)
    // Best effort: the platform gives up on it by itself, only later.
    if (unfinished) await cancel().catch(() => undefined)
    throw error
  }
}

class NewVersionCrashed extends ClientError {}

/** Without waiting for the platform's patience to end: what crashes at once will not serve. */
async function refuseCrashed(client: CloudClient, { new_processes, strategy }: Deployment): Promise<void> {
  for (const { guid, type } of new_processes) {
    const stats = await statsOf(client, guid).catch(() => [])
    if (stats.length === 0 || !stats.every(({ state }) => state === 'CRASHED')) continue
    const reason = stats.find(({ details }) => details)?.details
    throw new NewVersionCrashed(
      'start-failed',
      `Start unsuccessful: the new version's process '${type}' crashed${reason ? ` (${reason})` : ''}. The ${strategy} deployment is cancelled and the old version goes on serving. The app's recent log tells more.`,
    )
  }
}

const isSettled = ({ status, strategy }: Deployment): boolean =>
  status.value === 'FINALIZED' || (strategy === 'canary' && status.reason === 'PAUSED')
