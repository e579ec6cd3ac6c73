import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { ServiceContainers, ServiceContainerSpec } from '@bloomery/containers/service-containers'
import type { ServerUser } from '@bloomery/embedded'
import { ServiceFault } from '../engines/engine.js'
import type { ServiceFolders } from './folders.js'
import type { Runtime } from './runtime.js'
import type { ProgramPaths, RunOptions, Server, ServerCommand, Software } from './server-host.js'

const PIDS = 2_048
/** A dump needs some memory of its own, beside the server's. */
const LEAST_RUN_MB = 256

export interface ContainerRuntimeOptions {
  readonly installationId: string
  /** As DOCKER_HOST. */
  readonly dockerHost: string | undefined
  readonly folders: ServiceFolders
  /** Whom servers run as; undefined: as whoever runs the broker. */
  readonly owner: ServerUser | undefined
}

/** Servers from official images, at the same addresses and with the same folders as programs of the machine. */
export class ContainerRuntime implements Runtime {
  readonly kind = 'container'
  #containers: Promise<ServiceContainers> | undefined

  constructor(private readonly options: ContainerRuntimeOptions) {}

  async find(software: Software): Promise<{ from: string; programs: ProgramPaths; ready: boolean } | undefined> {
    if (!software.image) return undefined
    const { name, programs } = software.image
    const found = await (await this.#docker()).findImage(name)
    return found ? { from: `image ${name}`, programs, ready: found === 'present' } : undefined
  }

  listenAddress(address: string): string {
    return address
  }

  async start(server: Server, software: Software, { command, args, env }: ServerCommand): Promise<void> {
    const containers = await this.#docker()
    await containers.start(
      nameOf(server),
      this.#spec(server, software, [command, ...args], env ?? {}, [{ source: server.folder }]),
    )
  }

  async isRunning(server: Server): Promise<boolean> {
    return (await this.#docker()).isRunning(nameOf(server))
  }

  async stop(server: Server, software: Software): Promise<void> {
    const [[, patienceMs] = ['SIGTERM', 10_000]] = software.stopSignals
    await (await this.#docker()).stop(nameOf(server), Math.ceil(patienceMs / 1000))
  }

  async run(server: Server, software: Software, program: string, args: readonly string[], options: RunOptions): Promise<string> {
    const path = software.image?.programs[program]
    if (path === undefined)
      throw new ServiceFault(`This needs the program ${program}, which the image ${software.image?.name ?? ''} has not.`)
    // Backups lie beside the servers' folders.
    const spec = this.#spec(server, software, [path, ...args], options.env ?? {}, [{ source: this.options.folders.root }])
    const limited = { ...spec, memoryMb: Math.max(LEAST_RUN_MB, server.memoryMb) }
    const signals = [options.signal, options.timeoutMs === undefined ? undefined : AbortSignal.timeout(options.timeoutMs)]
    const given = signals.filter((signal) => signal !== undefined)
    return (await this.#docker()).run(nameOf(server), limited, {
      ...(options.input === undefined ? {} : { input: options.input }),
      ...(given.length === 0 ? {} : { signal: AbortSignal.any(given) }),
    })
  }

  async usage(server: Server): Promise<{ memoryBytes: number } | undefined> {
    const memoryBytes = await (await this.#docker()).memoryBytes(nameOf(server))
    return memoryBytes === undefined ? undefined : { memoryBytes }
  }

  async lastWords(server: Server): Promise<string> {
    return (await this.#docker()).lastWords(nameOf(server))
  }

  #spec(
    server: Server,
    software: Software,
    command: readonly string[],
    environment: Readonly<Record<string, string>>,
    mounts: ServiceContainerSpec['mounts'],
  ): ServiceContainerSpec {
    const { uid, gid } = this.options.owner ?? { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
    return {
      image: software.image?.name ?? '',
      command,
      environment: { HOME: server.folder, ...environment },
      workingDirectory: server.folder,
      user: `${uid}:${gid}`,
      // Some servers ask who they are, and images know their own users alone.
      mounts: [...mounts, { source: this.#passwd(server, uid, gid), target: '/etc/passwd', readOnly: true }],
      memoryMb: server.memoryMb,
      pidsLimit: PIDS,
      stopSignal: software.stopSignals[0]?.[0] ?? 'SIGTERM',
    }
  }

  #passwd(server: Server, uid: number, gid: number): string {
    const path = join(server.folder, 'passwd')
    const lines = ['root:x:0:0:root:/root:/bin/sh', `bloomery-services:x:${uid}:${gid}::${server.folder}:/bin/sh`, '']
    if (!existsSync(path)) this.options.folders.write(path, lines.join('\n'))
    return path
  }

  /** Loaded with the first look: where programs are used it never is. */
  #docker(): Promise<ServiceContainers> {
    const { installationId, dockerHost } = this.options
    return (this.#containers ??= import('@bloomery/containers/service-containers').then(
      ({ ServiceContainers }) => new ServiceContainers({ installationId, host: dockerHost }),
    ))
  }
}

const nameOf = ({ name }: Pick<Server, 'name'>): string => `service-${name}`
