import { resolve } from 'node:path'
import type { CloudClient } from './cloud-client.js'
import { ClientError } from './errors.js'
import type { LogEntry } from './logs.js'
import { isRecord, type Manifest, type ManifestApp, renderManifest } from './manifest.js'
import { uploadPackage, type UploadReport } from './package-upload.js'
import type { App, InstanceStats, Package } from './resources.js'
import { parseLogRate, parseMegabytes } from './sizes.js'
import { openSource, type Source } from './source-files.js'
import { deploy, type DeploymentOptions, setCurrentDroplet, stagePackage, waitUntilStarted } from './start-app.js'

/** What a push is doing, for whoever shows it. */
export type PushEvent =
  | { readonly kind: 'applying-manifest' }
  | { readonly kind: 'uploading'; readonly app: string; readonly source: string }
  | { readonly kind: 'upload'; readonly app: string; readonly report: UploadReport }
  | { readonly kind: 'staging'; readonly app: string }
  | { readonly kind: 'staging-line'; readonly app: string; readonly line: LogEntry }
  | { readonly kind: 'starting'; readonly app: string }
  | { readonly kind: 'deploying'; readonly app: string; readonly strategy: string }
  | { readonly kind: 'done'; readonly app: string; readonly guid: string }

export interface PushOptions {
  readonly spaceGuid: string
  /** With flags merged and variables filled in; see mergeFlags. */
  readonly manifest: Manifest
  /** The source of apps whose entry has no path. */
  readonly folder: string
  readonly noStart?: boolean
  readonly strategy?: string
  readonly maxInFlight?: number
  /** How long staging may take; default 15 minutes. */
  readonly stagingTimeoutMs?: number
  /** How long the instances may take to start; default five minutes. */
  readonly startTimeoutMs?: number
  readonly onEvent?: (event: PushEvent) => void
  /** Told often, of what takes its time. */
  readonly onProgress?: (progress: PushProgress) => void
}

export type PushProgress =
  | { readonly kind: 'sent'; readonly bytes: number }
  | { readonly kind: 'instances'; readonly processType: string; readonly instances: readonly InstanceStats[] }

const SCALE_KEYS = ['instances', 'memory', 'disk-quota', 'disk_quota', 'log-rate-limit-per-second']

/** Pushes every app of the manifest, one after the other, as `cf push` does. */
export async function push(client: CloudClient, options: PushOptions): Promise<void> {
  const { manifest, spaceGuid, strategy } = options
  const onEvent = options.onEvent ?? (() => undefined)
  if (strategy !== undefined && options.noStart)
    throw new ClientError('bad-argument', '--strategy and --no-start exclude one another.')
  const names = manifest.applications.map(({ name }) => String(name))
  const sources = new Map<string | undefined, Source>()
  for (const app of manifest.applications) sources.set(app.name, await openSource(resolve(options.folder, app.path ?? '.')))
  onEvent({ kind: 'applying-manifest' })
  const scales = new Map(manifest.applications.map((app) => [app.name, strategy === undefined ? undefined : scaleOf(app)]))
  const existing = strategy === undefined ? [] : await findApps(client, spaceGuid, names)
  const applied: Manifest = {
    ...manifest,
    // A deployment scales what runs; until then the present version keeps its size.
    applications: manifest.applications.map((app) => (existing.some(({ name }) => name === app.name) ? withoutScale(app) : app)),
  }
  await applyManifest(client, spaceGuid, applied)
  const apps = await findApps(client, spaceGuid, names)
  for (const entry of manifest.applications) {
    const app = apps.find(({ name }) => name === entry.name)
    const source = sources.get(entry.name)
    if (!app || !source)
      throw new ClientError('not-found', `App '${String(entry.name)}' is not there after its manifest was applied.`)
    await pushApp(client, app, source, options, scales.get(entry.name), onEvent)
  }
}

export async function applyManifest(client: CloudClient, spaceGuid: string, manifest: Manifest): Promise<void> {
  await client.complete('POST', `/v3/spaces/${spaceGuid}/actions/apply_manifest`, {
    body: renderManifest(manifest),
    headers: { 'content-type': 'application/x-yaml' },
  })
}

const findApps = (client: CloudClient, spaceGuid: string, names: readonly string[]): Promise<App[]> =>
  client.list<App>('/v3/apps', { names, space_guids: spaceGuid })

async function pushApp(
  client: CloudClient,
  app: App,
  source: Source,
  options: PushOptions,
  scale: DeploymentOptions['scale'],
  onEvent: (event: PushEvent) => void,
): Promise<void> {
  const { name, guid } = app
  const { onProgress, stagingTimeoutMs, startTimeoutMs } = options
  const startTimeout = startTimeoutMs === undefined ? {} : { timeoutMs: startTimeoutMs }
  onEvent({ kind: 'uploading', app: name, source: source.path })
  const made = await client.post<Package>('/v3/packages', { type: 'bits', relationships: { app: { data: { guid } } } })
  const uploaded = await uploadPackage(client, made.guid, source, {
    onReport: (report) => onEvent({ kind: 'upload', app: name, report }),
    ...(onProgress ? { onSent: (bytes: number) => onProgress({ kind: 'sent', bytes }) } : {}),
  })
  if (options.noStart) {
    if (app.state === 'STARTED') await client.post(`/v3/apps/${guid}/actions/stop`)
    return onEvent({ kind: 'done', app: name, guid })
  }
  onEvent({ kind: 'staging', app: name })
  const dropletGuid = await stagePackage(client, guid, uploaded.guid, {
    onLine: (line) => onEvent({ kind: 'staging-line', app: name, line }),
    ...(stagingTimeoutMs === undefined ? {} : { timeoutMs: stagingTimeoutMs }),
  })
  if (options.strategy === undefined) {
    onEvent({ kind: 'starting', app: name })
    await setCurrentDroplet(client, guid, dropletGuid)
    await client.post(`/v3/apps/${guid}/actions/restart`)
  } else {
    onEvent({ kind: 'deploying', app: name, strategy: options.strategy })
    const { strategy, maxInFlight } = options
    await deploy(client, guid, {
      strategy,
      dropletGuid,
      ...(maxInFlight === undefined ? {} : { maxInFlight }),
      ...(scale ? { scale } : {}),
      ...startTimeout,
    })
  }
  await waitUntilStarted(client, guid, {
    ...startTimeout,
    ...(onProgress ? { onInstances: (processType, instances) => onProgress({ kind: 'instances', processType, instances }) } : {}),
  })
  onEvent({ kind: 'done', app: name, guid })
}

function scaleOf(app: ManifestApp): NonNullable<DeploymentOptions['scale']> {
  const web = app.processes?.find(({ type }) => type === 'web') ?? app
  const { instances, memory } = web
  const disk = web['disk-quota'] ?? web['disk_quota']
  const rate = web['log-rate-limit-per-second']
  return {
    ...(instances === undefined ? {} : { instances: Number(instances) }),
    ...(typeof memory === 'string' ? { memoryMb: parseMegabytes(memory) } : {}),
    ...(typeof disk === 'string' ? { diskMb: parseMegabytes(disk) } : {}),
    ...(typeof rate === 'number' || typeof rate === 'string' ? { logRateBytes: parseLogRate(String(rate)) } : {}),
  }
}

function withoutScale(app: ManifestApp): ManifestApp {
  const strip = <T extends Record<string, unknown>>(entry: T): T =>
    Object.fromEntries(Object.entries(entry).filter(([key]) => !SCALE_KEYS.includes(key))) as T
  const web = app.processes?.some(({ type }) => type === 'web')
  if (!web) return strip(app)
  return { ...app, processes: (app.processes ?? []).map((each) => (isRecord(each) && each.type === 'web' ? strip(each) : each)) }
}
