import type { Readable } from 'node:stream'
import type { MemoryVictim } from './limits/memory-victim.js'

/** What a container is for; part of its labels, so that each role adopts and removes only its own. */
export type ContainerPurpose = 'instance' | 'staging' | 'task' | 'service'

export interface Mount {
  /** Absolute path on the machine. */
  readonly source: string
  readonly target: string
  readonly readOnly: boolean
}

/** A read-only folder under a thin writable layer, e.g. a droplet at /home/vcap. Several lower folders: the first lies on top. */
export interface LayerMount {
  readonly lower: readonly string[]
  readonly target: string
}

/** Where a container will be reached; known before it is made, because its environment names it. */
export interface ReservedEndpoint {
  /** The container's own address. */
  readonly address: string
  /** What the program listens on, and the port of the machine that leads there. */
  readonly ports: readonly { readonly internal: number; readonly external: number }[]
}

/**
 * Files that only vcap may read, at paths below the folder `target`: kept in the machine's memory, never on its disk, and gone with the
 * container.
 */
export interface SecretFiles {
  readonly target: string
  readonly files: Readonly<Record<string, string>>
}

export interface ContainerSpec {
  /** Unique per engine; CF's instance guid or the build's guid. Creating the same name twice finds the first. */
  readonly name: string
  readonly purpose: ContainerPurpose
  /** Besides the installation's own label, which the driver adds to each and filters by always. */
  readonly labels: Readonly<Record<string, string>>
  /** Stack image, e.g. bloomery/stack:bookworm. Ignored by `process`, which runs on the machine's own system. */
  readonly image: string
  readonly command: readonly string[]
  readonly environment: Readonly<Record<string, string>>
  readonly workingDirectory?: string
  /** Runs as vcap (2000:2000) always. */
  readonly mounts: readonly Mount[]
  /** For credentials; what is in `environment` an engine may write down. */
  readonly secretFiles?: readonly SecretFiles[]
  readonly layers: readonly LayerMount[]
  readonly memoryMb: number
  /** Limit of the writable layer(s) and /tmp. */
  readonly diskMb: number
  /** 1..100. */
  readonly cpuWeight: number
  /** Hard cap in cores; undefined: none. */
  readonly cpuLimit?: number
  readonly pidsLimit: number
  readonly fileDescriptors: number
  /** No single file may grow larger, so that a runaway write ends before anybody has looked; undefined: none. */
  readonly fileSizeMb?: number
  /** From `reserveEndpoint`; absent for what nobody dials (staging, tasks): the engine picks an address, no port is published. */
  readonly endpoint?: ReservedEndpoint
  /** Bytes per second that may leave stdout and stderr together before the engine sees them; -1 unlimited. Enforced by the supervisor inside. */
  readonly logRateLimit: number
  /** Hosts-file entries. */
  readonly extraHosts?: Readonly<Record<string, string>>
}

export type ContainerStatus =
  | { readonly state: 'created' }
  | { readonly state: 'running'; readonly startedAt: Date }
  | {
      readonly state: 'exited'
      readonly exitCode: number
      readonly outOfMemory: boolean
      readonly finishedAt: Date
      readonly reason?: string
    }

export interface SeenContainer {
  readonly name: string
  readonly purpose: ContainerPurpose
  readonly labels: Readonly<Record<string, string>>
  readonly status: ContainerStatus
  /** The container's own address; undefined while it has none. */
  readonly address?: string
  /** container port → published port on the machine. */
  readonly publishedPorts: Readonly<Record<number, number>>
}

export interface ContainerUsage {
  /** CPU time since start, nanoseconds. */
  readonly cpuNanoseconds: bigint
  readonly memoryBytes: number
  readonly diskBytes: number
}

/** One line of output. `cursor` is opaque; give the last one back to `output` to go on after it, also after a restart of the agent. */
export interface OutputLine {
  readonly stream: 'OUT' | 'ERR'
  readonly text: string
  /** Nanoseconds since the epoch. */
  readonly timestamp: bigint
  readonly cursor: string
}

/** Why the engine could not do it; `kind` is what callers switch on. */
export class EngineError extends Error {
  override readonly name = 'EngineError'
  constructor(
    readonly kind: 'unavailable' | 'image-missing' | 'no-space' | 'conflict' | 'not-found' | 'refused',
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

/** How much of the isolation this machine can give. Each entry that is not the strongest comes with a reason in `remarks`. */
export interface Confinement {
  readonly disk: 'limited' | 'measured'
  readonly network: 'filtered' | 'open'
  readonly processes: 'container' | 'sandbox' | 'none'
  readonly remarks: readonly string[]
}

/** An image of Bloomery's that nothing is made of and nothing is called by any more. */
export interface UnusedImage {
  readonly id: string
  /** With what it shares with others. */
  readonly bytes: number
}

/** What Bloomery needs of whatever runs containers. Nothing above this interface knows which driver it is. All calls are idempotent by name. */
export interface ContainerEngine {
  readonly kind: 'docker' | 'process'
  /** Throws EngineError('unavailable') when the engine does not answer. */
  ping(): Promise<void>
  /** Network, stack image present, volumes' root: what must be there before the first container. */
  prepare(): Promise<void>
  /** What an image's name stands for now, e.g. `sha256:…`; of `process`, which has no images, the machine's system. */
  imageDigest(image: string): Promise<string>
  /**
   * Chooses address and ports for a container that is about to be made, never one of `avoidAddresses` (endpoints that routers may still
   * know). `ports` are the wanted container ports; `process` answers others, since its instances share the machine's. `start` fails with
   * `conflict` when another program took one meanwhile: remove, reserve, create again.
   */
  reserveEndpoint(ports: readonly number[], avoidAddresses: readonly string[]): Promise<ReservedEndpoint>
  /** A name that exists already is found, not made again. */
  create(spec: ContainerSpec): Promise<SeenContainer>
  start(name: string): Promise<SeenContainer>
  /**
   * Writes files into a folder of secret files with which the container was made, running or not: each appears whole, others there stay.
   * False where it has no such folder.
   */
  updateSecretFiles(name: string, secretFiles: SecretFiles): Promise<boolean>
  /** SIGTERM to all, then SIGKILL after the grace time. Resolves when it has ended. `killed`: the grace time had passed. */
  stop(name: string, graceSeconds: number): Promise<{ killed: boolean }>
  kill(name: string, signal: 'SIGKILL' | 'SIGTERM'): Promise<void>
  /** Ends it if need be and removes it with its writable layer. */
  remove(name: string): Promise<void>
  find(name: string): Promise<SeenContainer | undefined>
  /** This installation's containers of one purpose only. */
  list(purpose: ContainerPurpose): Promise<SeenContainer[]>
  /** Resolves when the container has ended, also when it had before. */
  wait(name: string, signal?: AbortSignal): Promise<Extract<ContainerStatus, { state: 'exited' }>>
  /** Lines from `after` on (from the start when undefined), then live until it ends or `signal` aborts. Survives agent and engine restarts without losing a line. */
  output(name: string, options: { after?: string; signal: AbortSignal }): AsyncIterable<OutputLine>
  usage(names: readonly string[]): Promise<ReadonlyMap<string, ContainerUsage>>
  /** How often a running container was refused another process for its limit; undefined where nobody counts. */
  refusedProcesses(name: string): Promise<number | undefined>
  /** Of a container that ran out of memory: whom the kernel ended, as far as its log may be read here. */
  memoryVictim(name: string): Promise<MemoryVictim | undefined>
  exec(
    name: string,
    command: readonly string[],
    options?: { user?: 'vcap' | 'root'; environment?: Record<string, string> },
  ): Promise<{ exitCode: number; output: string }>
  /** What confinement this machine allows; shown to operators and in docs, and `measured` makes the cell watch the disk itself. */
  confinement(): Confinement
  /** Tells of ends (and of the engine's return after an absence) soon; only a hint to look again. */
  onChange(listener: () => void): () => void
  /** The path of a file or folder inside a finished or running container as a tar stream. */
  readTar(name: string, path: string): Promise<Readable>
  /**
   * Removes what this installation left of ended containers (volumes, disks); with `everything` also stops and removes each container of it,
   * its network and its firewall rules.
   */
  cleanUp(options: { everything: boolean; graceSeconds?: number }): Promise<void>
  /** Images that carry Bloomery's own label and that nothing needs; of no others is anything said. */
  unusedImages(): Promise<readonly UnusedImage[]>
  /** Does nothing when it is gone, or needed again. */
  removeUnusedImage(id: string): Promise<void>
  /** Lets go of connections and watchers; containers run on. */
  close(): Promise<void>
}
