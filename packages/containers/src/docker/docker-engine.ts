import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough, type Readable } from 'node:stream'
import type { Logger } from '@bloomery/telemetry'
import type Docker from 'dockerode'
import { type DiskKind, diskPaths, diskUsage, findDiskKind, makeDisk, removeDisk } from '../disk/container-disk.js'
import {
  type Confinement,
  type ContainerEngine,
  type ContainerPurpose,
  type ContainerSpec,
  type ContainerStatus,
  type ContainerUsage,
  EngineError,
  type OutputLine,
  type ReservedEndpoint,
  type SecretFiles,
  type SeenContainer,
  type UnusedImage,
} from '../engine.js'
import type { MemoryVictim } from '../limits/memory-victim.js'
import { refusedProcesses } from '../limits/refused-processes.js'
import { readRing } from '../output/ring-reader.js'
import {
  placeSecretFiles,
  removeAllSecretFiles,
  removeSecretFiles,
  removeStraySecretFiles,
  replaceSecretFiles,
  secretFilesRoot,
} from '../secret-files.js'
import { hostTrust } from '../trust.js'
import { awaitEnd } from './await-end.js'
import { cgroupUsage } from './cgroup-usage.js'
import { connect, type Connection } from './connection.js'
import { createOptions } from './create-options.js'
import { Endpoints } from './endpoints.js'
import { asEngineError, isConflict, isNotFound, isNotModified } from './errors.js'
import { EventWatch } from './event-watch.js'
import { runInContainer } from './exec.js'
import { applyFirewall, findFirewall, removeFirewall, type PublicPorts } from './firewall.js'
import { MemoryVictims } from './memory-victims.js'
import { DISK_LABEL, INSTALLATION_LABEL, NAME_LABEL, type Names, namesOf, PURPOSE_LABEL } from './names.js'
import { ensureNetwork } from './network.js'
import { endpointFromList, seenFromInspect } from './seen.js'
import { StagingGroup } from './staging-group.js'
import type { Subnet } from './subnet.js'
import { listUnusedImages, type OurImages, removeUnusedImage, STACK_LABEL } from './unused-images.js'

/** What the engine may take for a stop beyond the grace time. */
const STOP_SLACK_MS = 60_000

export interface DockerEngineOptions {
  readonly installationId: string
  /** Where the containers' disks lie on the machine of the engine. */
  readonly folder: string
  /** Checked by `prepare`, so that a missing image is named before the first start fails. */
  readonly image?: string
  /** What images of Bloomery's are known by. Default: the label of the stack's build. */
  readonly imageLabel?: string
  /** As DOCKER_HOST; the usual socket when absent. */
  readonly host?: string
  /** Address at which ports are published. Default 127.0.0.1. */
  readonly hostAddress?: string
  /** `measured` where the engine cannot see what this process mounts. Default: the best that this machine allows. */
  readonly disk?: DiskKind
  /** Whether programs inside trust what the machine trusts. Default true. */
  readonly trustHostCertificates?: boolean
  /** A supervisor to mount into images that have none. */
  readonly supervisorPath?: string
  /** What of the machine containers may reach: the platform's public ports, and the names under which they find them. */
  readonly platform?: PublicPorts & { readonly hosts: readonly string[] }
  readonly logger: Logger
}

/** Containers of a Docker engine (API 1.41 or later), cgroup version 1 or 2. */
export class DockerEngine implements ContainerEngine {
  readonly kind = 'docker'
  private readonly connection: Connection
  private readonly docker: Docker
  private readonly names: Names
  private readonly hostAddress: string
  private readonly events: EventWatch
  private readonly pids = new Map<string, number>()
  private readonly memoryVictims = new MemoryVictims()
  private readonly secrets: string
  private readonly staging: StagingGroup
  private disk: DiskKind = 'measured'
  private subnet: Subnet | undefined
  private endpoints: Endpoints | undefined
  private isolation: Confinement = { disk: 'measured', network: 'open', processes: 'container', remarks: ['not prepared yet'] }

  constructor(private readonly options: DockerEngineOptions) {
    this.connection = connect(options.host)
    this.docker = this.connection.calls
    this.names = namesOf(options.installationId)
    this.hostAddress = options.hostAddress ?? '127.0.0.1'
    this.events = new EventWatch(this.connection.streams, this.names, options.logger)
    this.secrets = secretFilesRoot(options.installationId, options.folder)
    this.staging = new StagingGroup(options.logger)
  }

  async ping(): Promise<void> {
    await this.call('reach the container engine', () => this.docker.ping())
  }

  async prepare(): Promise<void> {
    await this.ping()
    const { image } = this.options
    if (image !== undefined)
      await this.docker
        .getImage(image)
        .inspect()
        .catch((error: unknown) => {
          if (!isNotFound(error)) throw asEngineError(error, `look for the image ${image}`)
          throw new EngineError(
            'image-missing',
            `The stack image ${image} is not on this engine; build it or set BLOOMERY_STACK_IMAGE`,
          )
        })
    await mkdir(this.options.folder, { recursive: true, mode: 0o755 })
    const disk = await findDiskKind(this.options.disk)
    const firewall = await findFirewall()
    this.disk = disk.kind
    await this.call('ask the container engine for its control groups', () => this.staging.prepare(this.docker))
    const subnet = await ensureNetwork(this.docker, this.names)
    if (this.subnet?.cidr !== subnet.cidr) this.endpoints = new Endpoints(subnet, this.hostAddress)
    this.subnet = subnet
    const remarks = [disk.remark, firewall.remark].filter((remark) => remark !== undefined)
    if (firewall.available) await applyFirewall(this.names, subnet.gateway, this.options.platform ?? { bind: '', ports: [] })
    this.isolation = { disk: disk.kind, network: firewall.available ? 'filtered' : 'open', processes: 'container', remarks }
  }

  async imageDigest(image: string): Promise<string> {
    try {
      return (await this.docker.getImage(image).inspect()).Id
    } catch (error) {
      if (isNotFound(error)) throw new EngineError('image-missing', `The image ${image} is not on this engine`, { cause: error })
      throw asEngineError(error, `look for the image ${image}`)
    }
  }

  confinement(): Confinement {
    return this.isolation
  }

  async reserveEndpoint(ports: readonly number[], avoidAddresses: readonly string[]): Promise<ReservedEndpoint> {
    if (this.endpoints === undefined) await this.prepare()
    if (this.endpoints === undefined) throw new EngineError('unavailable', 'The engine is not prepared')
    const filters = { label: [`${INSTALLATION_LABEL}=${this.names.installation}`] }
    const present = await this.call('list containers', () => this.docker.listContainers({ all: true, filters }))
    return this.endpoints.reserve(ports, avoidAddresses, present.map(endpointFromList))
  }

  async create(spec: ContainerSpec): Promise<SeenContainer> {
    const present = await this.find(spec.name)
    if (present !== undefined) return present
    if (this.subnet === undefined) await this.prepare()
    const doing = `make the container ${spec.name}`
    try {
      const placed = await placeSecretFiles(this.secrets, spec)
      const disk = await makeDisk(join(this.options.folder, spec.name), {
        kind: this.disk,
        diskMb: spec.diskMb,
        layers: spec.layers.length,
      })
      const container = await this.docker.createContainer(
        createOptions(placed, {
          names: this.names,
          disk,
          hostAddress: this.hostAddress,
          trust: hostTrust(this.options.trustHostCertificates ?? true),
          supervisorPath: this.options.supervisorPath,
          hosts: this.platformHosts(),
          cgroupParent: spec.purpose === 'staging' ? await this.staging.parent() : undefined,
        }),
      )
      return seenFromInspect(await container.inspect())
    } catch (error) {
      const found = await this.find(spec.name).catch(() => undefined)
      if (found !== undefined) return found
      await removeDisk(join(this.options.folder, spec.name))
      await removeSecretFiles(this.secrets, spec.name)
      throw asEngineError(error, doing)
    }
  }

  async start(name: string): Promise<SeenContainer> {
    this.memoryVictims.forget(name)
    await this.call(`start the container ${name}`, () =>
      this.container(name)
        .start()
        .catch((error: unknown) => {
          if (!isNotModified(error)) throw error
        }),
    )
    const seen = await this.find(name)
    if (seen === undefined) throw new EngineError('not-found', `The container ${name} vanished while it was being started`)
    if (seen.purpose === 'staging') await this.joinStaging(name)
    return seen
  }

  updateSecretFiles(name: string, secretFiles: SecretFiles): Promise<boolean> {
    return replaceSecretFiles(this.secrets, name, secretFiles)
  }

  async stop(name: string, graceSeconds: number): Promise<{ killed: boolean }> {
    const before = Date.now()
    const grace = Math.max(0, Math.ceil(graceSeconds))
    try {
      // Not bound by the time limit of calls: a grace time may be long.
      const abortSignal = AbortSignal.timeout(grace * 1000 + STOP_SLACK_MS)
      await this.connection.streams.getContainer(this.names.container(name)).stop({ t: grace, abortSignal })
    } catch (error) {
      if (isNotModified(error) || isNotFound(error)) return { killed: false }
      throw asEngineError(error, `stop the container ${name}`)
    }
    const seen = await this.find(name)
    const forced = seen?.status.state === 'exited' && seen.status.exitCode === 137
    return { killed: forced && Date.now() - before >= grace * 1000 }
  }

  async kill(name: string, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    try {
      await this.container(name).kill({ signal })
    } catch (error) {
      // A conflict: it is not running any more.
      if (isNotFound(error) || isConflict(error)) return
      throw asEngineError(error, `signal the container ${name}`)
    }
  }

  async remove(name: string): Promise<void> {
    const seen = await this.inspect(name)
    await this.dispose(name, seen?.Config.Labels[DISK_LABEL] ?? join(this.options.folder, name))
  }

  async find(name: string): Promise<SeenContainer | undefined> {
    const found = await this.inspect(name)
    if (found === undefined) return undefined
    const seen = seenFromInspect(found)
    const { status } = seen
    // The engine may hear of the end before it hears of the reason, and then never tells it.
    if (
      status.state === 'exited' &&
      status.exitCode !== 0 &&
      !status.outOfMemory &&
      (await this.memoryVictims.isAny(name, found.Id))
    )
      return { ...seen, status: { ...status, outOfMemory: true } }
    return seen
  }

  list(purpose: ContainerPurpose): Promise<SeenContainer[]> {
    return this.seenBy({ [PURPOSE_LABEL]: purpose })
  }

  wait(name: string, signal?: AbortSignal): Promise<Extract<ContainerStatus, { state: 'exited' }>> {
    return awaitEnd(name, { events: this.events, find: (each) => this.find(each) }, signal)
  }

  async *output(name: string, { after, signal }: { after?: string; signal: AbortSignal }): AsyncIterable<OutputLine> {
    const found = await this.inspect(name)
    if (found === undefined) return
    const { ring } = diskPaths(found.Config.Labels[DISK_LABEL] ?? join(this.options.folder, name), 0)
    const ended = this.wait(name, signal)
    // Nobody else may be waiting on it when the reader is stopped first.
    ended.catch(() => undefined)
    yield* readRing(ring, { after, signal, ended })
  }

  async usage(names: readonly string[]): Promise<ReadonlyMap<string, ContainerUsage>> {
    const found = await Promise.all(names.map(async (name) => [name, await this.usageOf(name).catch(() => undefined)] as const))
    return new Map(found.flatMap(([name, usage]) => (usage === undefined ? [] : [[name, usage] as const])))
  }

  async refusedProcesses(name: string): Promise<number | undefined> {
    const pid = await this.pidOf(name)
    return pid === undefined ? undefined : refusedProcesses(pid)
  }

  async memoryVictim(name: string): Promise<MemoryVictim | undefined> {
    const found = await this.inspect(name)
    return found && this.memoryVictims.of(found.Id)
  }

  exec(name: string, command: readonly string[], options?: { user?: 'vcap' | 'root'; environment?: Record<string, string> }) {
    return this.call(`run a command in ${name}`, () => runInContainer(this.docker, this.container(name), command, options))
  }

  onChange(listener: () => void): () => void {
    return this.events.add(() => listener())
  }

  async readTar(name: string, path: string): Promise<Readable> {
    const stream = await this.call(`read ${path} of ${name}`, () =>
      this.connection.streams.getContainer(this.names.container(name)).getArchive({ path }),
    )
    return (stream as Readable).pipe(new PassThrough())
  }

  async cleanUp({ everything, graceSeconds = 10 }: { everything: boolean; graceSeconds?: number }): Promise<void> {
    const filters = { label: [`${INSTALLATION_LABEL}=${this.names.installation}`] }
    // Volumes first: one that is made meanwhile, for a container of another role, is not in the list.
    const { Volumes: volumes } = await this.call('list volumes', () => this.docker.listVolumes({ filters }))
    const present = await this.call('list containers', () => this.docker.listContainers({ all: true, filters }))
    if (everything)
      await Promise.all(
        present.map(async ({ Labels }) => {
          const name = Labels[NAME_LABEL]
          if (name === undefined) return
          await this.stop(name, graceSeconds)
          await this.dispose(name, Labels[DISK_LABEL] ?? join(this.options.folder, name))
        }),
      )
    const kept = new Set(everything ? [] : present.map(({ Labels }) => Labels[NAME_LABEL]))
    for (const volume of volumes) if (!kept.has(volume.Labels?.[NAME_LABEL])) await this.removeVolume(volume.Name)
    const folders = await readdir(this.options.folder).catch(() => [])
    for (const folder of folders) if (!kept.has(folder)) await removeDisk(join(this.options.folder, folder))
    await removeStraySecretFiles(this.secrets, kept)
    if (!everything) return
    await removeAllSecretFiles(this.options.installationId)
    await this.docker
      .getNetwork(this.names.network)
      .remove()
      .catch((error: unknown) => {
        if (!isNotFound(error)) throw asEngineError(error, `remove the network ${this.names.network}`)
      })
    this.subnet = undefined
    if (this.isolation.network === 'filtered' || (await findFirewall()).available) await removeFirewall(this.names)
  }

  unusedImages(): Promise<readonly UnusedImage[]> {
    return this.call('list images', () => listUnusedImages(this.docker, this.ourImages()))
  }

  removeUnusedImage(id: string): Promise<void> {
    return this.call(`remove the image ${id}`, () => removeUnusedImage(this.docker, id, this.ourImages()))
  }

  async close(): Promise<void> {
    this.events.close()
    this.staging.close()
  }

  private async joinStaging(name: string): Promise<void> {
    const running = async (): Promise<string | undefined> => {
      const found = await this.inspect(name)
      return found?.State.Running === true ? found.Id : undefined
    }
    const id = await running()
    if (id !== undefined) await this.staging.started(id, async () => (await running()) !== undefined)
  }

  private ourImages(): OurImages {
    return { label: this.options.imageLabel ?? STACK_LABEL, inUse: this.options.image }
  }

  private container(name: string): Docker.Container {
    return this.docker.getContainer(this.names.container(name))
  }

  private async inspect(name: string): Promise<Docker.ContainerInspectInfo | undefined> {
    try {
      return await this.container(name).inspect()
    } catch (error) {
      if (isNotFound(error)) return undefined
      throw asEngineError(error, `look at the container ${name}`)
    }
  }

  private async seenBy(labels: Record<string, string>): Promise<SeenContainer[]> {
    const wanted = Object.entries({ ...labels, [INSTALLATION_LABEL]: this.names.installation })
    const filters = { label: wanted.map(([label, value]) => `${label}=${value}`) }
    const present = await this.call('list containers', () => this.docker.listContainers({ all: true, filters }))
    const seen = await Promise.all(present.map(({ Labels }) => this.find(Labels[NAME_LABEL] ?? '')))
    return seen.filter((container) => container !== undefined)
  }

  private async dispose(name: string, disk: string): Promise<void> {
    this.pids.delete(name)
    this.memoryVictims.forget(name)
    await removeSecretFiles(this.secrets, name)
    await this.container(name)
      .remove({ force: true, v: true })
      .catch((error: unknown) => {
        if (!isNotFound(error)) throw asEngineError(error, `remove the container ${name}`)
      })
    const filters = { label: [`${INSTALLATION_LABEL}=${this.names.installation}`, `${NAME_LABEL}=${name}`] }
    const { Volumes } = await this.call('list volumes', () => this.docker.listVolumes({ filters }))
    for (const { Name } of Volumes) await this.removeVolume(Name)
    await removeDisk(disk)
  }

  /**
   * Docker counts the mounts of containers that it has restored after its own death wrongly ("volume has active mounts") until it
   * starts once more. Such a volume is an empty shell without its container, and nothing waits for it: a later clean-up gets it.
   */
  private async removeVolume(name: string): Promise<void> {
    await this.docker
      .getVolume(name)
      .remove()
      .catch((error: unknown) => {
        if (!isNotFound(error)) this.options.logger.warn({ err: error, volume: name }, 'a volume stays until a later clean-up')
      })
  }

  private async usageOf(name: string): Promise<ContainerUsage | undefined> {
    const pid = await this.pidOf(name)
    if (pid === undefined) return undefined
    try {
      const used = await cgroupUsage(pid)
      if (used === undefined) return undefined
      return { ...used, diskBytes: await diskUsage(join(this.options.folder, name)) }
    } catch (error) {
      this.pids.delete(name)
      throw error
    }
  }

  private async pidOf(name: string): Promise<number | undefined> {
    const found = this.pids.has(name) ? undefined : await this.inspect(name)
    if (found?.State.Running === true) this.pids.set(name, found.State.Pid)
    return this.pids.get(name)
  }

  private platformHosts(): Record<string, string> {
    const { subnet } = this
    if (subnet === undefined) return {}
    return Object.fromEntries((this.options.platform?.hosts ?? []).map((host) => [host, subnet.gateway]))
  }

  private async call<T>(doing: string, action: () => Promise<T>): Promise<T> {
    try {
      return await action()
    } catch (error) {
      throw asEngineError(error, doing)
    }
  }
}
