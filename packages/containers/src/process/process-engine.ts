import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { existsSync, watch, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '@bloomery/telemetry'
import { cgroupUsage } from '../docker/cgroup-usage.js'
import { namesOf } from '../docker/names.js'
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
import { findMemoryVictim, type MemoryVictim, readKernelLog } from '../limits/memory-victim.js'
import { refusedProcesses } from '../limits/refused-processes.js'
import { readRing } from '../output/ring-reader.js'
import { isPortFree } from '../ports.js'
import { isRoot } from '../run.js'
import {
  placeSecretFiles,
  removeAllSecretFiles,
  removeSecretFiles,
  removeStraySecretFiles,
  replaceSecretFiles,
  secretFilesRoot,
} from '../secret-files.js'
import { hostTrust } from '../trust.js'
import { type Cgroups, findCgroups } from './cgroup.js'
import { closeLayers, openLayers, readInside } from './container-files.js'
import { ADDRESS, ContainerRecords } from './container-records.js'
import { execInSandbox } from './exec.js'
import { launchSupervisor } from './launch-supervisor.js'
import { isAlive } from './process-state.js'
import { treeUsage } from './process-tree.js'
import { findSandbox, sandboxed, unconfined, VCAP } from './sandbox.js'
import type { SuperviseOrder } from './supervise.js'

const FIRST_PORT = 20_000
const LAST_PORT = 29_999
const POLL_MS = 250
const RESERVED_MS = 60_000
const START_TIMEOUT_MS = 20_000
const MIB = 1024 * 1024

export interface ProcessEngineOptions {
  readonly installationId: string
  readonly folder: string
  /** Program that calls runProcessSupervisor(). */
  readonly supervisorEntry: string
  /** Run even what cannot be confined on this machine. */
  readonly allowUnconfined: boolean
  readonly disk?: DiskKind
  /** Default true. */
  readonly trustHostCertificates?: boolean
  readonly platform?: { readonly bind: string; readonly ports: readonly number[]; readonly hosts: readonly string[] }
  readonly logger: Logger
}

/** Processes of this machine, confined by bubblewrap, each under a supervisor that outlives the agent. For a first look without Docker. */
export class ProcessEngine implements ContainerEngine {
  readonly kind = 'process'
  private readonly short: string
  private readonly secrets: string
  private readonly records: ContainerRecords
  private readonly environments = new Map<string, Readonly<Record<string, string>>>()
  private readonly reserved = new Map<number, number>()
  private readonly listeners = new Set<() => void>()
  private watcher: { close(): void } | undefined
  private nextPort = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT))
  private prepared: { disk: DiskKind; sandbox: boolean; cgroups: Cgroups | undefined } | undefined
  private isolation: Confinement = { disk: 'measured', network: 'open', processes: 'none', remarks: ['not prepared yet'] }

  constructor(private readonly options: ProcessEngineOptions) {
    this.short = namesOf(options.installationId).short
    this.records = new ContainerRecords(options.folder)
    this.secrets = secretFilesRoot(options.installationId, options.folder)
  }

  async ping(): Promise<void> {
    if (process.platform !== 'linux') throw new EngineError('unavailable', 'The process engine needs Linux')
  }

  async prepare(): Promise<void> {
    await this.ping()
    // Its processes look for files below, as another user: the way there must be open for that user.
    await mkdir(this.etc, { recursive: true, mode: 0o755 })
    await writeFile(
      join(this.etc, 'passwd'),
      `root:x:0:0:root:/root:/bin/sh\nvcap:x:${VCAP}:${VCAP}::/home/vcap:/bin/bash\nnobody:x:65534:65534::/:/bin/sh\n`,
    )
    await writeFile(join(this.etc, 'group'), `root:x:0:\nvcap:x:${VCAP}:\nnogroup:x:65534:\n`)
    const hosts = ['localhost', ...(this.options.platform?.hosts ?? [])]
    await writeFile(join(this.etc, 'hosts'), `${ADDRESS} ${hosts.join(' ')}\n::1 localhost\n`)
    if (!existsSync(this.bell)) writeFileSync(this.bell, '')
    const disk = await findDiskKind(this.options.disk)
    const sandbox = await findSandbox()
    const cgroups = findCgroups(this.cgroupParent)
    this.prepared = { disk: disk.kind, sandbox: sandbox.works, cgroups }
    const remarks = [
      disk.remark,
      sandbox.remark,
      'apps share the network of this machine: use the docker engine for anything but a first look',
      cgroups === undefined
        ? `memory is measured every half second, the processor is not shared out${sandbox.works && !isRoot() ? '' : ', the number of processes is not limited'}: ` +
          `control groups ${isRoot() ? 'cannot be made here' : 'need root'}`
        : undefined,
    ]
    this.isolation = {
      disk: disk.kind,
      network: 'open',
      processes: sandbox.works ? 'sandbox' : 'none',
      remarks: remarks.filter((remark) => remark !== undefined),
    }
  }

  async imageDigest(): Promise<string> {
    const system = await readFile('/etc/os-release', 'utf8').catch(() => '')
    return `machine:${/^PRETTY_NAME="?([^"\n]*)/m.exec(system)?.[1] ?? 'unknown'}`
  }

  confinement(): Confinement {
    return this.isolation
  }

  async reserveEndpoint(ports: readonly number[]): Promise<ReservedEndpoint> {
    const used = new Set((await this.records.all()).flatMap(({ publishedPorts }) => Object.values(publishedPorts)))
    for (const [port, until] of this.reserved) if (until < Date.now()) this.reserved.delete(port)
    const chosen = []
    for (let tries = 0; chosen.length < ports.length; tries++) {
      if (tries > LAST_PORT - FIRST_PORT)
        throw new EngineError('no-space', `All ports from ${FIRST_PORT} to ${LAST_PORT} are in use`)
      const port = this.nextPort
      this.nextPort = port >= LAST_PORT ? FIRST_PORT : port + 1
      if (used.has(port) || this.reserved.has(port) || !(await isPortFree(ADDRESS, port))) continue
      this.reserved.set(port, Date.now() + RESERVED_MS)
      // Instances share the machine's ports: what it listens on is what others dial.
      chosen.push({ internal: port, external: port })
    }
    return { address: ADDRESS, ports: chosen }
  }

  async create(spec: ContainerSpec): Promise<SeenContainer> {
    const { disk, sandbox } = await this.ready()
    const present = await this.records.find(spec.name)
    if (present !== undefined) return present
    if (!sandbox && !this.options.allowUnconfined && spec.labels['bloomery.sample'] !== 'true')
      throw new EngineError(
        'refused',
        'Without bubblewrap nothing but the sample app is run here, because it would have all that you have. ' +
          'Install it (apt-get install bubblewrap), use the docker engine, or accept the danger with BLOOMERY_PROCESS_UNCONFINED=true.',
      )
    const folder = this.records.folderOf(spec.name)
    try {
      await makeDisk(folder, { kind: disk, diskMb: spec.diskMb, layers: spec.layers.length })
      const { environment, ...kept } = await placeSecretFiles(this.secrets, spec)
      this.environments.set(spec.name, environment)
      await this.records.keep(spec.name, kept)
    } catch (error) {
      await removeDisk(folder)
      await removeSecretFiles(this.secrets, spec.name)
      throw new EngineError(
        /no space/i.test(String(error)) ? 'no-space' : 'refused',
        `Could not make ${spec.name}: ${messageOf(error)}`,
        { cause: error },
      )
    }
    return this.records.get(spec.name)
  }

  async start(name: string): Promise<SeenContainer> {
    const { sandbox, cgroups } = await this.ready()
    const seen = await this.records.get(name)
    if (seen.status.state !== 'created') return seen
    const environment = this.environments.get(name)
    if (environment === undefined)
      throw new EngineError('conflict', `${name} was made by an agent that is gone; remove it and make it anew`)
    const folder = this.records.folderOf(name)
    const kept = await this.records.specOf(name)
    if (kept === undefined) throw new EngineError('not-found', `There is no container ${name}`)
    const trust = hostTrust(this.options.trustHostCertificates ?? true)
    const spec: ContainerSpec = { ...kept, environment: { ...trust.environment, ...environment } }
    const disk = diskPaths(folder, spec.layers.length)
    const layers = await openLayers(folder, spec)
    const groups = cgroups?.make(name, spec) ?? []
    const paths = { disk, layers, etc: this.etc }
    const run = sandbox
      ? { command: sandboxed(spec, paths), environment: spec.environment, cwd: folder }
      : unconfined(spec, paths)
    const order: SuperviseOrder = {
      ...run,
      folder,
      ring: disk.ring,
      rate: spec.logRateLimit,
      tellsItsChild: sandbox,
      cgroups: groups,
      memoryBytes: cgroups === undefined ? spec.memoryMb * MIB : undefined,
      fileDescriptors: spec.fileDescriptors,
      fileSizeMb: spec.fileSizeMb,
      bell: this.bell,
    }
    await launchSupervisor(order, { entry: this.options.supervisorEntry, installationId: this.options.installationId })
    this.environments.delete(name)
    return this.records.get(name)
  }

  updateSecretFiles(name: string, secretFiles: SecretFiles): Promise<boolean> {
    return replaceSecretFiles(this.secrets, name, secretFiles)
  }

  async stop(name: string, graceSeconds: number): Promise<{ killed: boolean }> {
    const state = this.records.stateOf(name)
    if (state === undefined || state.exit !== undefined || !isAlive(state)) return { killed: false }
    signal(state.supervisor.pid, 'SIGTERM')
    const ended = await this.endsWithin(name, graceSeconds * 1000)
    if (ended) return { killed: false }
    await this.kill(name, 'SIGKILL')
    await this.endsWithin(name, START_TIMEOUT_MS)
    return { killed: true }
  }

  async kill(name: string, which: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const state = this.records.stateOf(name)
    if (state === undefined || state.exit !== undefined) return
    if (which === 'SIGTERM') return signal(state.supervisor.pid, 'SIGTERM')
    // The supervisor stays to tell how it ended.
    if (state.target === undefined) return
    signal(-state.target, 'SIGKILL')
    // Right after the start it leads no group yet; the end of the sandbox's first process is the end of all in it.
    signal(state.target, 'SIGKILL')
  }

  async remove(name: string): Promise<void> {
    const folder = this.records.folderOf(name)
    await this.kill(name, 'SIGKILL')
    const state = this.records.stateOf(name)
    if (state !== undefined && !(await this.endsWithin(name, 5000))) signal(state.supervisor.pid, 'SIGKILL')
    this.environments.delete(name)
    await closeLayers(folder, (await this.records.specOf(name))?.layers.length ?? 0)
    this.prepared?.cgroups?.remove(name)
    await removeSecretFiles(this.secrets, name)
    await removeDisk(folder)
  }

  async find(name: string): Promise<SeenContainer | undefined> {
    return this.records.find(name)
  }

  async list(purpose: ContainerPurpose): Promise<SeenContainer[]> {
    return (await this.records.all()).filter((container) => container.purpose === purpose)
  }

  async wait(name: string, abort?: AbortSignal): Promise<Extract<ContainerStatus, { state: 'exited' }>> {
    for (;;) {
      abort?.throwIfAborted()
      const { status } = await this.records.get(name)
      if (status.state === 'exited') return status
      await delay(POLL_MS, undefined, abort === undefined ? {} : { signal: abort })
    }
  }

  async *output(name: string, { after, signal: abort }: { after?: string; signal: AbortSignal }): AsyncIterable<OutputLine> {
    const ended = this.wait(name, abort)
    ended.catch(() => undefined)
    yield* readRing(diskPaths(this.records.folderOf(name), 0).ring, { after, signal: abort, ended })
  }

  async usage(names: readonly string[]): Promise<ReadonlyMap<string, ContainerUsage>> {
    const found = new Map<string, ContainerUsage>()
    for (const name of names) {
      const state = this.records.stateOf(name)
      if (state?.target === undefined || state.exit !== undefined || !isAlive(state)) continue
      const grouped = this.prepared?.cgroups === undefined ? undefined : await cgroupUsage(state.target).catch(() => undefined)
      const diskBytes = await diskUsage(this.records.folderOf(name)).catch(() => 0)
      found.set(name, { ...(grouped ?? treeUsage(state.target)), diskBytes })
    }
    return found
  }

  async refusedProcesses(name: string): Promise<number | undefined> {
    const state = this.records.stateOf(name)
    return state?.target === undefined || this.prepared?.cgroups === undefined ? undefined : refusedProcesses(state.target)
  }

  async memoryVictim(name: string): Promise<MemoryVictim | undefined> {
    if (this.prepared?.cgroups === undefined) return undefined
    return findMemoryVictim(await readKernelLog(), (path) => path.endsWith(`/${this.cgroupParent}/${name}`))
  }

  async exec(
    name: string,
    command: readonly string[],
    options: { user?: 'vcap' | 'root'; environment?: Record<string, string> } = {},
  ) {
    const state = this.records.stateOf(name)
    if (state?.target === undefined || state.exit !== undefined) throw new EngineError('not-found', `${name} does not run`)
    if (options.user === 'root') throw new EngineError('refused', 'There is no root inside a process of this engine')
    const { sandbox } = await this.ready()
    if (sandbox && !isRoot())
      throw new EngineError(
        'refused',
        'The process engine can run a command inside an app only when Bloomery runs as root; use the docker engine for that',
      )
    return execInSandbox(state.target, command, {
      confined: sandbox,
      environment: options.environment ?? {},
    })
  }

  onChange(listener: () => void): () => void {
    this.listeners.add(listener)
    this.watcher ??= watch(this.bell, { persistent: false }, () => {
      for (const one of this.listeners) one()
    })
    return () => {
      this.listeners.delete(listener)
      if (this.listeners.size === 0) this.unwatch()
    }
  }

  async readTar(name: string, path: string): Promise<Readable> {
    const spec = await this.records.specOf(name)
    if (spec === undefined) throw new EngineError('not-found', `There is no container ${name}`)
    const { sandbox } = await this.ready()
    return readInside({ name, folder: this.records.folderOf(name), spec, path, sandbox })
  }

  /** There are none. */
  async unusedImages(): Promise<readonly UnusedImage[]> {
    return []
  }

  async removeUnusedImage(): Promise<void> {
    return Promise.resolve()
  }

  async cleanUp({ everything, graceSeconds = 10 }: { everything: boolean; graceSeconds?: number }): Promise<void> {
    const names = (await this.records.names()).filter((name) => name !== 'etc' && name !== 'changed')
    await Promise.all(
      names.map(async (name) => {
        const present = await this.records.find(name)
        if (present !== undefined && !everything) return
        if (present !== undefined) await this.stop(name, graceSeconds)
        await this.remove(name)
      }),
    )
    await removeStraySecretFiles(this.secrets, new Set(names))
    if (!everything) return
    await removeAllSecretFiles(this.options.installationId)
    ;(this.prepared?.cgroups ?? findCgroups(this.cgroupParent))?.removeAll()
  }

  async close(): Promise<void> {
    this.unwatch()
  }

  private get etc(): string {
    return join(this.options.folder, 'etc')
  }

  private get cgroupParent(): string {
    return `bloomery-${this.short}`
  }

  private get bell(): string {
    return join(this.options.folder, 'changed')
  }

  private unwatch(): void {
    this.watcher?.close()
    this.watcher = undefined
  }

  private async ready() {
    if (this.prepared === undefined) await this.prepare()
    if (this.prepared === undefined) throw new EngineError('unavailable', 'The engine is not prepared')
    return this.prepared
  }

  private async endsWithin(name: string, ms: number): Promise<boolean> {
    for (const until = Date.now() + ms; ;) {
      const state = this.records.stateOf(name)
      if (state === undefined || state.exit !== undefined || !isAlive(state)) return true
      if (Date.now() > until) return false
      await delay(50)
    }
  }
}

function signal(pid: number, which: NodeJS.Signals): void {
  try {
    process.kill(pid, which)
  } catch {
    // It has ended meanwhile.
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
