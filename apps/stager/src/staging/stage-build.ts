import { join } from 'node:path'
import { type Blobstore, BlobError } from '@bloomery/blobstore'
import { contentDigest, PACKAGE_LIMITS } from '@bloomery/archives'
import { type ContainerEngine, type ContainerSpec, EngineError, type LayerMount, type Mount } from '@bloomery/containers'
import { BINDING_FILES_FOLDER, explainFailure, isMachineFull } from '@bloomery/domain'
import type { Keyring } from '@bloomery/secrets'
import type { Logger } from '@bloomery/telemetry'
import { z } from 'zod'
import { type BuildpackStore } from '../buildpacks/buildpack-store.js'
import { chooseBuildpacks } from '../buildpacks/choose-buildpacks.js'
import { prepareBuildpack } from '../buildpacks/prepare-buildpack.js'
import type { ClaimedBuild, EarlierDroplet, StagedDroplet } from '../builds/build-record.js'
import type { Builds } from '../builds/builds.js'
import type { ClientSettings } from '../client-settings.js'
import { answerRequests, RUNTIMES_MOUNT } from '../runtimes/runtime-broker.js'
import type { RuntimeStore } from '../runtimes/runtime-store.js'
import type { AppCaches } from './app-cache.js'
import { readAppLayers, writeAppLayers } from './app-layers.js'
import { readBill } from './bill-of-materials.js'
import { runtimeInputs, settingsDigest } from './droplet-inputs.js'
import { stagingEnvironment } from './environment.js'
import { asFailure, stagingError } from './failure.js'
import { findEarlierDroplet } from './find-earlier-droplet.js'
import { handOver } from './hand-over.js'
import { BUILD_LABEL, STAGER_LABEL } from './labels.js'
import { type BuildLimits, CPU_WEIGHT, FILE_DESCRIPTORS } from './limits.js'
import { providePackage } from './provide-package.js'
import { removeAsVcap } from './remove-as-vcap.js'
import { removeContainers, runContainer } from './run-container.js'
import { shortBytes } from './short-bytes.js'
import { makerOf, type SpaceLayers } from './space-layers.js'
import type { StagingLog } from './staging-log.js'
import { checksumOf, presentBuildpacks, readStagingResult } from './staging-result.js'
import { storeDroplet } from './store-droplet.js'
import { Workspace } from './workspace.js'

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
  readonly spaceLayers: SpaceLayers
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

/** A new droplet, or an earlier one that a staging would only make again. */
export type Outcome =
  { readonly kind: 'staged'; readonly droplet: StagedDroplet } | { readonly kind: 'reused'; readonly droplet: EarlierDroplet }

/**
 * Stages one claimed build up to its droplet in the blob store. Throws StagingFailure for what the user can act on, the signal's reason
 * when told to stop. Whatever it leaves behind on a crash is found by its labels and by its folder's name.
 */
export async function stageBuild(
  parts: StagingParts,
  build: ClaimedBuild,
  limits: BuildLimits,
  log: StagingLog,
  signal: AbortSignal,
): Promise<{ outcome: Outcome; cleanUp: () => Promise<void> }> {
  const { engine } = parts
  const name = containerName(build)
  const workspace = new Workspace(join(parts.workFolder, name))
  const cleanUp = async (): Promise<void> => {
    await engine.remove(name)
    await workspace.remove((folder) => removeAsVcap(parts, folder))
  }
  try {
    const outcome = await new Staging(parts, build, limits, log, signal, workspace).run()
    return {
      outcome,
      cleanUp: outcome.kind === 'staged' ? cleanUp : () => workspace.remove((folder) => removeAsVcap(parts, folder)),
    }
  } catch (error) {
    await cleanUp().catch((failure: unknown) =>
      parts.logger.warn({ err: failure, build: build.guid }, 'a staging was not cleaned up'),
    )
    throw explained(error)
  }
}

/** Of this try: what an earlier one has left does not stand in its way. */
export const containerName = ({ guid, token }: Pick<ClaimedBuild, 'guid' | 'token'>): string => `${guid}-${token}`

function explained(error: unknown): unknown {
  if (error instanceof EngineError && error.kind === 'image-missing')
    return stagingError(
      'platform',
      'the stack image is missing on the machine that stages apps',
      'Have the operator build it: node stacks/build.mjs',
      { cause: error },
    )
  if ((error instanceof EngineError || error instanceof BlobError) && error.kind === 'no-space') return machineFull(error)
  return error
}

const machineFull = (cause?: unknown) =>
  stagingError(
    'machine-disk',
    'no disk space left on the machine that stages apps',
    'Have the operator free disk space (bloom gc), then push again.',
    { cause },
  )

type Prepared = Awaited<ReturnType<typeof prepareBuildpack>>

/** One for each folder: the same buildpack may be named twice. */
function mountsOf(prepared: readonly Prepared[]): readonly Mount[] {
  const mounts = prepared.flatMap(({ source, entry, writable }) =>
    source === undefined || writable ? [] : [[entry.path, { source, target: entry.path, readOnly: true }] as const],
  )
  return [...new Map(mounts).values()]
}

/** Those that may write get a thin layer of their own over the files that all stagings share. */
function layersOf(prepared: readonly Prepared[]): readonly LayerMount[] {
  const layers = prepared.flatMap(({ source, entry, writable }) =>
    source === undefined || !writable ? [] : [[entry.path, { lower: [source], target: entry.path }] as const],
  )
  return [...new Map(layers).values()]
}

const Texts = z.record(z.string(), z.string())

/** One staging from the choice of buildpacks to the droplet. */
class Staging {
  #bits: Promise<string> | undefined
  constructor(
    private readonly parts: StagingParts,
    private readonly build: ClaimedBuild,
    private readonly limits: BuildLimits,
    private readonly log: StagingLog,
    private readonly signal: AbortSignal,
    private readonly workspace: Workspace,
  ) {}

  async run(): Promise<Outcome> {
    const { parts, build, log } = this
    const chosen = chooseBuildpacks(build.buildpacks, await parts.builds.buildpacksFor(build.stack), build.stack)
    const [prepared, clearedAt, imageDigest, lifecycle] = await Promise.all([
      Promise.all(chosen.buildpacks.map((each) => prepareBuildpack(parts.buildpacks, each, log))),
      parts.builds.cacheClearedAt(),
      parts.engine.imageDigest(parts.image),
      parts.buildpacks.prepareFolder('lifecycle', parts.lifecycleFolder),
    ])
    const frozen =
      build.environmentEncrypted === null
        ? {}
        : parts.keyring.decryptJson(build.environmentEncrypted, `build:${build.guid}`, Texts)
    const bindings =
      build.filesEncrypted === null
        ? undefined
        : parts.keyring.decryptJson(build.filesEncrypted, `build-files:${build.guid}`, Texts)
    const settingsSha256 = settingsDigest({
      buildpacks: prepared.map(({ entry, source }) => ({ key: entry.key, source: source ?? entry.url ?? '' })),
      skipDetect: chosen.skipDetect,
      stack: build.stack,
      imageDigest,
      lifecycle,
      // Files of bindings decide as much as the variable that they stand for.
      environment: bindings === undefined ? frozen : { ...frozen, [BINDING_FILES_FOLDER]: JSON.stringify(bindings) },
      cachesClearedAt: clearedAt,
    })
    await this.workspace.begin()
    // Nothing is begun that would have to be ended at once.
    if (isMachineFull(await this.workspace.disk())) throw machineFull()
    const archive = await this.#package()
    // What lies at an address may have changed since.
    if (chosen.buildpacks.every(({ kind }) => kind === 'kept')) {
      const bits = () => this.#contentOf(archive)
      const earlier = await findEarlierDroplet(build, { ...parts, settingsSha256, bits })
      if (earlier !== undefined) {
        const at = earlier.createdAt.toISOString().replace(/\.\d+Z$/, 'Z')
        log.say(
          `Same files, same buildpacks, same settings as when the droplet of ${at} was staged: it is used again, nothing to stage.`,
        )
        log.say('(cf restage stages anew all the same.)')
        return { kind: 'reused', droplet: earlier }
      }
    }
    const droplet = await this.#stage({
      prepared,
      skipDetect: chosen.skipDetect,
      clearedAt,
      imageDigest,
      lifecycle,
      frozen,
      bindings,
      archive,
      settingsSha256,
    })
    return { kind: 'staged', droplet }
  }

  async #stage(given: {
    prepared: readonly Prepared[]
    skipDetect: boolean
    clearedAt: Date | undefined
    imageDigest: string
    lifecycle: string
    frozen: Readonly<Record<string, string>>
    bindings: Readonly<Record<string, string>> | undefined
    archive: string
    settingsSha256: string
  }): Promise<StagedDroplet> {
    const { parts, build, log, signal, workspace } = this
    const { prepared } = given
    log.say(`Cell ${parts.nodeId} creating container for instance ${build.guid}`)
    // An earlier try may have lost its engine, and left its container running.
    await removeContainers(parts.engine, (labels) => labels[BUILD_LABEL] === build.guid)
    const settings = await parts.clientSettings()
    const cache = await parts.caches.open(build.appGuid, build.stack, given.clearedAt)
    const droplets = parts.cellDroplets()
    const layersFile = parts.caches.layersFile(build.appGuid, build.stack)
    const own = await readAppLayers(layersFile, droplets)
    const maker = (source: string) => makerOf({ source, stack: build.stack, imageDigest: given.imageDigest })
    const makers = new Set(prepared.flatMap(({ source }) => (source === undefined ? [] : [maker(source)])))
    const others = await parts.spaceLayers.read(build.spaceGuid, droplets, makers, given.clearedAt)
    const layers = [...own, ...others.filter(({ layer }) => !own.some((each) => each.layer === layer))]
    const plan = {
      stack: build.stack,
      skipDetect: given.skipDetect,
      buildpacks: prepared.map(({ entry }) => entry),
      layers: layers.map(({ name: folder, key, layer }, i) => ({
        name: folder,
        key,
        path: join(LAYERS_MOUNT, layer, folder),
        of: i < own.length ? 'app' : 'space',
      })),
    }
    await workspace.make(plan, [
      'cache',
      'lifecycle',
      'runtimes',
      ...layers.map(({ layer }) => `layers/${layer}`),
      ...prepared.flatMap(({ source, point }) => (source === undefined ? [] : [point])),
    ])
    signal.throwIfAborted()
    // Beside the container, which has enough to do.
    const content = this.#contentOf(given.archive)
    content.catch(() => undefined)
    const spec: ContainerSpec = {
      name: containerName(build),
      purpose: 'staging',
      labels: { [BUILD_LABEL]: build.guid, [STAGER_LABEL]: parts.nodeId, 'bloomery.app': build.appGuid },
      image: parts.image,
      command: ['python3', '-B', '/tmp/lifecycle/builder.py'],
      environment: stagingEnvironment(build, given.frozen, settings.environment, INSTANCE_ADDRESS),
      workingDirectory: '/home/vcap',
      mounts: [
        workspace.mount(),
        { source: given.archive, target: '/tmp/package.zip', readOnly: true },
        { source: cache, target: '/tmp/cache', readOnly: false },
        { source: given.lifecycle, target: '/tmp/lifecycle', readOnly: true },
        { source: parts.runtimes.folder, target: RUNTIMES_MOUNT, readOnly: true },
        ...layers.map(({ layer }) => ({
          source: join(droplets ?? '', layer),
          target: join(LAYERS_MOUNT, layer),
          readOnly: true,
        })),
        ...mountsOf(prepared),
        ...settings.mounts,
      ],
      ...(given.bindings === undefined ? {} : { secretFiles: [{ target: BINDING_FILES_FOLDER, files: given.bindings }] }),
      layers: layersOf(prepared),
      cpuWeight: CPU_WEIGHT,
      fileDescriptors: FILE_DESCRIPTORS,
      memoryMb: this.limits.memoryMb,
      diskMb: this.limits.diskMb,
      fileSizeMb: this.limits.diskMb,
      pidsLimit: this.limits.processes,
      logRateLimit: this.limits.logRateLimit,
    }
    await this.#runBuilder(spec, cache)
    const result = await readStagingResult(join(workspace.stage, 'result.json'))
    if (!result?.droplet)
      throw stagingError(
        'script-exit',
        'the buildpack ended well but left no valid result',
        'Push again; if it stays so, the buildpack is at fault.',
      )
    if (Object.keys(result.process_types).length === 0 && !(await parts.builds.hasWebCommand(build.appGuid)))
      throw stagingError(
        'start-command-missing',
        'Start command not specified',
        'Add a Procfile, or name the command with cf push -c.',
      )
    const [bill, answered] = await Promise.all([readBill(workspace.stage), workspace.answeredRuntimes()])
    const droplet = await storeDroplet(parts.blobstore, build, log, workspace.stage)
    if (droplets !== undefined) {
      const handed = await handOver({
        droplets,
        sha256: droplet.sha256,
        workspace,
        runtimes: parts.runtimes.folder,
        mounted: layers.map(({ layer }) => layer),
        layers: result.droplet.layers,
      })
      if (handed !== undefined) {
        await writeAppLayers(layersFile, handed)
        const last = result.lifecycle_metadata.buildpacks.at(-1)
        const source = prepared.find(({ entry }) => entry.key === last?.key)?.source
        // What lies at an address may be another thing tomorrow: such layers are the app's alone.
        if (source !== undefined) await parts.spaceLayers.add(build.spaceGuid, handed, maker(source))
      }
    }
    log.say('Uploading complete')
    log.say(`Cell ${parts.nodeId} stopping instance ${build.guid}`)
    const names = new Map(
      prepared.flatMap(({ entry, source }) => (source === undefined ? [] : [[entry.key, entry.name] as const])),
    )
    const buildpacks = presentBuildpacks(result, names)
    const sources = new Map(prepared.map(({ entry, source }) => [entry.key, source]))
    return {
      ...droplet,
      processTypes: result.process_types,
      buildpacks,
      settingsSha256: given.settingsSha256,
      components: bill.components,
      inputs: {
        bits: {
          content: `sha256:${await content}`,
          archive: build.packageSha256 === null ? null : `sha256:${build.packageSha256}`,
        },
        buildpacks: result.lifecycle_metadata.buildpacks.map((each, i) => ({
          name: buildpacks[i]?.name ?? '',
          version: each.version ?? null,
          checksum: checksumOf(each, sources.get(each.key)),
        })),
        runtimes: runtimeInputs(answered),
        stack: { name: build.stack, image: parts.image, digest: given.imageDigest },
        lock_files: bill.lockFiles,
      },
    }
  }

  /** Runs the container to its end; throws what it failed for. */
  async #runBuilder(spec: ContainerSpec, cache: string): Promise<void> {
    const { parts, build, log, signal, workspace, limits } = this
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
    try {
      const end = await runContainer({
        engine: parts.engine,
        spec,
        workspace,
        written: [workspace.tmp, cache],
        log,
        timeoutMs: parts.stagingTimeoutMs,
        limits,
        signal,
      })
      log.say(`Exit status ${end.exitCode}${end.outOfMemory ? ' (out of memory)' : ''}`)
      const failure = explainFailure(end, { ...limits, timeoutMs: parts.stagingTimeoutMs })
      if (failure) throw asFailure(failure)
    } finally {
      broker.abort()
      await answering
    }
  }

  async #package(): Promise<string> {
    const { parts, build, log, workspace } = this
    log.say('Downloading app package...')
    const archive = await providePackage(parts.blobstore, build, workspace.folder)
    log.say(`Downloaded app package${build.packageBytes === null ? '' : ` (${shortBytes(Number(build.packageBytes))})`}`)
    return archive
  }

  #contentOf(archive: string): Promise<string> {
    return (this.#bits ??= contentDigest(archive, PACKAGE_LIMITS))
  }
}
