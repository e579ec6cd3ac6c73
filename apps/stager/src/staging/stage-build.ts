import { createHash, randomUUID } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { chmod, chown } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { type Blobstore, BlobError } from '@bloomery/blobstore'
import { type ContainerEngine, type ContainerSpec, EngineError, type Mount } from '@bloomery/containers'
import type { Keyring } from '@bloomery/secrets'
import type { Logger } from '@bloomery/telemetry'
import { z } from 'zod'
import { type BuildpackStore } from '../buildpacks/buildpack-store.js'
import { type ChosenBuildpack, chooseBuildpacks } from '../buildpacks/choose-buildpacks.js'
import type { ClaimedBuild, StagedDroplet } from '../builds/build-record.js'
import type { Builds } from '../builds/builds.js'
import type { ClientSettings } from '../client-settings.js'
import { answerRequests, RUNTIMES_MOUNT } from '../runtimes/runtime-broker.js'
import type { RuntimeStore } from '../runtimes/runtime-store.js'
import type { AppCaches } from './app-cache.js'
import { readAppLayers, writeAppLayers } from './app-layers.js'
import { stagingEnvironment } from './environment.js'
import { failureOf, stagingError } from './failure.js'
import { handOver } from './hand-over.js'
import { removeContainers, runContainer } from './run-container.js'
import type { StagingLog } from './staging-log.js'
import { presentBuildpacks, readStagingResult } from './staging-result.js'
import { openUntrusted } from './untrusted-file.js'
import { Workspace } from './workspace.js'

export const BUILD_LABEL = 'bloomery.build'
export const STAGER_LABEL = 'bloomery.stager'
const CPU_WEIGHT = 50
const PIDS = 2048
const FILE_DESCRIPTORS = 16_384
/** Where layers of the app's last droplet are mounted. */
const LAYERS_MOUNT = '/tmp/layers'
const INSTANCE_ADDRESS = '127.0.0.1'

/** What a staging needs of its surroundings. */
export interface StagingParts {
  readonly builds: Builds
  readonly engine: ContainerEngine
  readonly blobstore: Blobstore
  readonly keyring: Keyring
  readonly buildpacks: BuildpackStore
  readonly runtimes: RuntimeStore
  readonly caches: AppCaches
  readonly clientSettings: () => Promise<ClientSettings>
  readonly nodeId: string
  readonly image: string
  readonly lifecycleFolder: string
  /** Folders of stagings under way. */
  readonly workFolder: string
  readonly cellDroplets: () => string | undefined
  readonly stagingTimeoutMs: number
  readonly logger: Logger
}

/**
 * Stages one claimed build up to its droplet in the blob store. Throws StagingFailure for what the user can act on, the signal's reason
 * when told to stop. Whatever it leaves behind on a crash is found by its labels and by its folder's name.
 */
export async function stageBuild(
  parts: StagingParts,
  build: ClaimedBuild,
  log: StagingLog,
  signal: AbortSignal,
): Promise<{ droplet: StagedDroplet; cleanUp: () => Promise<void> }> {
  const { engine } = parts
  await removeContainers(engine, (labels) => labels[BUILD_LABEL] === build.guid)
  const name = `${build.guid}-${build.token}`
  const workspace = new Workspace(join(parts.workFolder, name))
  const cleanUp = async (): Promise<void> => {
    await engine.remove(name)
    await workspace.remove((folder) => removeAsVcap(parts, folder))
  }
  try {
    const droplet = await stageIn(parts, build, log, signal, workspace, name)
    return { droplet, cleanUp }
  } catch (error) {
    await cleanUp().catch((failure: unknown) =>
      parts.logger.warn({ err: failure, build: build.guid }, 'a staging was not cleaned up'),
    )
    if (error instanceof EngineError && error.kind === 'image-missing')
      throw stagingError(
        'the stack image is missing on the machine that stages apps',
        'Have the operator build it: node stacks/build.mjs',
        {
          cause: error,
        },
      )
    if ((error instanceof EngineError || error instanceof BlobError) && error.kind === 'no-space')
      throw stagingError(
        'no disk space left on the machine that stages apps',
        'Have the operator free disk space, then push again.',
        {
          cause: error,
        },
      )
    throw error
  }
}

async function stageIn(
  parts: StagingParts,
  build: ClaimedBuild,
  log: StagingLog,
  signal: AbortSignal,
  workspace: Workspace,
  name: string,
): Promise<StagedDroplet> {
  const cell = `Cell ${parts.nodeId}`
  log.say(`${cell} creating container for instance ${build.guid}`)
  const chosen = chooseBuildpacks(build.buildpacks, await parts.builds.buildpacksFor(build.stack), build.stack)
  const prepared = await Promise.all(chosen.buildpacks.map((each) => prepareBuildpack(parts, each, log)))
  const [settings, clearedAt] = await Promise.all([parts.clientSettings(), parts.builds.cacheClearedAt()])
  const cache = await parts.caches.open(build.appGuid, build.stack, clearedAt)
  const droplets = parts.cellDroplets()
  const layers = await readAppLayers(parts.caches.layersFile(build.appGuid, build.stack), droplets)
  const plan = {
    stack: build.stack,
    skipDetect: chosen.skipDetect,
    buildpacks: prepared.map(({ entry }) => entry),
    layers: layers.map(({ name: folder, key, layer }) => ({ name: folder, key, path: join(LAYERS_MOUNT, layer, folder) })),
  }
  await workspace.make(plan, [
    'cache',
    'lifecycle',
    'runtimes',
    ...layers.map(({ layer }) => `layers/${layer}`),
    ...prepared.flatMap(({ mount, point }) => (mount ? [point] : [])),
  ])
  signal.throwIfAborted()
  const packageMount = await providePackage(parts, build, log, workspace)
  const lifecycle = await parts.buildpacks.prepareFolder('lifecycle', parts.lifecycleFolder)
  const frozen =
    build.environmentEncrypted === null
      ? {}
      : parts.keyring.decryptJson(build.environmentEncrypted, `build:${build.guid}`, z.record(z.string(), z.string()))
  const spec: ContainerSpec = {
    name,
    purpose: 'staging',
    labels: { [BUILD_LABEL]: build.guid, [STAGER_LABEL]: parts.nodeId, 'bloomery.app': build.appGuid },
    image: parts.image,
    command: ['python3', '-B', '/tmp/lifecycle/builder.py'],
    environment: stagingEnvironment(build, frozen, settings.environment, INSTANCE_ADDRESS),
    workingDirectory: '/home/vcap',
    mounts: [
      workspace.mount(),
      packageMount,
      { source: cache, target: '/tmp/cache', readOnly: false },
      { source: lifecycle, target: '/tmp/lifecycle', readOnly: true },
      { source: parts.runtimes.folder, target: RUNTIMES_MOUNT, readOnly: true },
      ...layers.map(({ layer }) => ({
        source: join(droplets ?? '', layer),
        target: join(LAYERS_MOUNT, layer),
        readOnly: true,
      })),
      ...prepared.flatMap(({ mount }) => mount ?? []),
      ...settings.mounts,
    ],
    layers: [],
    memoryMb: build.memoryMb,
    diskMb: build.diskMb,
    cpuWeight: CPU_WEIGHT,
    pidsLimit: PIDS,
    fileDescriptors: FILE_DESCRIPTORS,
    logRateLimit: build.logRateLimit,
  }
  const broker = new AbortController()
  const answering = answerRequests(
    {
      stage: workspace.stage,
      store: parts.runtimes,
      manifestPath: (each) => parts.buildpacks.manifestPath(each),
      log: parts.logger,
    },
    broker.signal,
  ).catch((error: unknown) => parts.logger.warn({ err: error, build: build.guid }, 'runtimes could not be provided'))
  const limits = { memoryMb: build.memoryMb, diskMb: build.diskMb, timeoutMs: parts.stagingTimeoutMs }
  try {
    const end = await runContainer({ engine: parts.engine, spec, workspace, log, ...limits, signal })
    log.say(`Exit status ${end.exitCode}${end.outOfMemory ? ' (out of memory)' : ''}`)
    const failure = failureOf(end, limits)
    if (failure) throw failure
  } finally {
    broker.abort()
    await answering
  }
  const result = await readStagingResult(join(workspace.stage, 'result.json'))
  if (!result?.droplet)
    throw stagingError(
      'the buildpack ended well but left no valid result',
      'Push again; if it stays so, the buildpack is at fault.',
    )
  if (Object.keys(result.process_types).length === 0 && !(await parts.builds.hasWebCommand(build.appGuid)))
    throw stagingError('Start command not specified', 'Add a Procfile, or name the command with cf push -c.')
  const droplet = await storeDroplet(parts, build, log, workspace)
  if (droplets !== undefined) {
    const handed = await handOver({
      droplets,
      sha256: droplet.sha256,
      contents: workspace.contents,
      made: workspace.made,
      runtimes: parts.runtimes.folder,
      mounted: layers.map(({ layer }) => layer),
      layers: result.droplet.layers,
    })
    if (handed !== undefined) await writeAppLayers(parts.caches.layersFile(build.appGuid, build.stack), handed)
  }
  log.say('Uploading complete')
  log.say(`Cell ${parts.nodeId} stopping instance ${build.guid}`)
  const names = new Map(
    chosen.buildpacks.flatMap((each) => (each.kind === 'kept' ? [[each.key, each.record.name] as const] : [])),
  )
  return { ...droplet, processTypes: result.process_types, buildpacks: presentBuildpacks(result, names) }
}

async function prepareBuildpack(
  parts: StagingParts,
  chosen: ChosenBuildpack,
  log: StagingLog,
): Promise<{ entry: { key: string; name: string; path: string; url?: string }; point: string; mount?: Mount }> {
  const point = `buildpacks/${createHash('md5').update(chosen.key).digest('hex')}`
  const path = `/tmp/${point}`
  if (chosen.kind === 'address') return { entry: { key: chosen.key, name: chosen.key, path, url: chosen.url }, point }
  const { record } = chosen
  log.say(`Downloading ${record.name}...`)
  const source = await parts.buildpacks.prepare(record)
  log.say(`Downloaded ${record.name}`)
  return { entry: { key: chosen.key, name: record.name, path }, point, mount: { source, target: path, readOnly: true } }
}

async function providePackage(parts: StagingParts, build: ClaimedBuild, log: StagingLog, workspace: Workspace): Promise<Mount> {
  const { packageBlobKey: key, packageState } = build
  if (key === null || packageState !== 'READY')
    throw stagingError('the package has no bits or is gone', 'Push again, so that the files are uploaded anew.')
  log.say('Downloading app package...')
  let source = parts.blobstore.localPath(key)
  try {
    if (source === undefined) {
      source = join(workspace.folder, 'package.zip')
      await pipeline((await parts.blobstore.get(key)).body, createWriteStream(source, { mode: 0o644 }))
    } else if (!(await parts.blobstore.stat(key))) throw new BlobError('not-found', `The blob '${key}' does not exist.`)
  } catch (error) {
    if (error instanceof BlobError && error.kind === 'not-found')
      throw stagingError('the package is gone from the blob store', 'Push again, so that the files are uploaded anew.', {
        cause: error,
      })
    throw error
  }
  log.say(`Downloaded app package${build.packageBytes === null ? '' : ` (${shortBytes(Number(build.packageBytes))})`}`)
  return { source, target: '/tmp/package.zip', readOnly: true }
}

async function storeDroplet(
  parts: StagingParts,
  build: ClaimedBuild,
  log: StagingLog,
  workspace: Workspace,
): Promise<Pick<StagedDroplet, 'guid' | 'blobKey' | 'sha256' | 'sizeBytes'>> {
  const path = join(workspace.stage, 'droplet.tar.gz')
  const file = await openUntrusted(path)
  if (!file)
    throw stagingError('the buildpack ended well but left no droplet', 'Push again; if it stays so, the buildpack is at fault.')
  await file.close()
  log.say('Uploading droplet, build artifacts cache...')
  log.say('Uploading droplet...')
  if (process.getuid?.() === 0) {
    await chown(path, 0, 0)
    await chmod(path, 0o644)
  }
  const guid = build.dropletGuid ?? randomUUID()
  const blobKey = `droplets/${guid}`
  const stored = await parts.blobstore.putFile(blobKey, path)
  log.say(`Uploaded droplet (${shortBytes(stored.sizeBytes)})`)
  return { guid, blobKey, sha256: stored.sha256, sizeBytes: stored.sizeBytes }
}

/** Without root the stager cannot remove what vcap made; vcap can. */
async function removeAsVcap(parts: StagingParts, folder: string): Promise<void> {
  const name = `clean-${randomUUID()}`
  await parts.engine.create({
    name,
    purpose: 'staging',
    labels: { [STAGER_LABEL]: parts.nodeId },
    image: parts.image,
    command: ['sh', '-c', 'chmod -R u+rwx /tmp/left; find /tmp/left -mindepth 1 -delete'],
    environment: { PATH: '/usr/bin:/bin' },
    mounts: [{ source: folder, target: '/tmp/left', readOnly: false }],
    layers: [],
    memoryMb: 128,
    diskMb: 64,
    cpuWeight: 10,
    pidsLimit: 64,
    fileDescriptors: 1024,
    logRateLimit: 0,
  })
  try {
    await parts.engine.start(name)
    await parts.engine.wait(name)
  } finally {
    await parts.engine.remove(name)
  }
}

/** As CF's log lines have it: 1.2M, 830.5K, 12B. */
export function shortBytes(bytes: number): string {
  const units = ['B', 'K', 'M', 'G', 'T']
  const power = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), units.length - 1)
  const value = bytes / 1024 ** power
  return `${power === 0 ? value : value.toFixed(1).replace(/\.0$/, '')}${units[power] ?? ''}`
}
