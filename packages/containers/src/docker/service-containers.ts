import { PassThrough } from 'node:stream'
import { finished } from 'node:stream/promises'
import type Docker from 'dockerode'
import { cgroupUsage } from './cgroup-usage.js'
import { connect, type Connection } from './connection.js'
import { asEngineError, isNotFound, isNotModified } from './errors.js'
import { INSTALLATION_LABEL, NAME_LABEL, type Names, namesOf, PURPOSE_LABEL } from './names.js'

const MIB = 1024 * 1024
const LOG_BYTES = '8m'
/** How long a registry may take to say whether it has an image. */
const ASK_MS = 5_000

/** A program of an image, on the machine's own network, as an unprivileged user. */
export interface ServiceContainerSpec {
  readonly image: string
  readonly command: readonly string[]
  readonly environment: Readonly<Record<string, string>>
  readonly workingDirectory: string
  /** uid:gid. */
  readonly user: string
  /** Folders and files of the machine, under the same path inside unless `target` says otherwise. */
  readonly mounts: readonly { readonly source: string; readonly target?: string; readonly readOnly?: boolean }[]
  readonly memoryMb: number
  readonly pidsLimit: number
  readonly stopSignal: string
}

/**
 * Database servers from official images. They share the machine's network, so that they listen at the one address that they are given,
 * as programs of the machine do; everything else of them is confined as apps are.
 */
export class ServiceContainers {
  private readonly connection: Connection
  private readonly docker: Docker
  private readonly names: Names

  constructor(options: { readonly installationId: string; readonly host?: string | undefined }) {
    this.connection = connect(options.host)
    this.docker = this.connection.calls
    this.names = namesOf(options.installationId)
  }

  /** Whether the image is on the engine, or could be pulled; undefined: neither, as far as can be told in a few seconds. */
  async findImage(image: string): Promise<'present' | 'to be pulled' | undefined> {
    if (await this.isPresent(image)) return 'present'
    try {
      await Promise.race([
        this.docker.getImage(image).distribution({ abortSignal: AbortSignal.timeout(ASK_MS) }),
        new Promise((_resolve, reject) => setTimeout(() => reject(new Error('no answer in time')), ASK_MS).unref()),
      ])
      return 'to be pulled'
    } catch {
      return undefined // no engine, no registry in reach, or no such image in it
    }
  }

  /** Starts the container anew; what was there by this name goes. */
  async start(name: string, spec: ServiceContainerSpec): Promise<void> {
    await this.remove(name)
    await this.pull(spec.image)
    try {
      const container = await this.docker.createContainer({ name: this.names.container(name), ...this.options(name, spec) })
      await container.start()
    } catch (error) {
      throw asEngineError(error, `start the server ${name} from ${spec.image}`)
    }
  }

  async isRunning(name: string): Promise<boolean> {
    return (await this.inspect(name))?.State.Running ?? false
  }

  /** Ends it by its signal, then by force, and removes it. Its data are the caller's folders. */
  async stop(name: string, graceSeconds: number): Promise<void> {
    const container = this.docker.getContainer(this.names.container(name))
    await this.connection.streams
      .getContainer(this.names.container(name))
      .stop({ t: graceSeconds })
      .catch((error: unknown) => {
        if (!isNotFound(error) && !isNotModified(error)) throw asEngineError(error, `stop the server ${name}`)
      })
    await container.remove({ force: true, v: true }).catch(ignoreMissing)
  }

  /** Runs a program to its end in a container of its own; answers what it printed to stdout. */
  async run(
    name: string,
    spec: ServiceContainerSpec,
    options: { readonly input?: string; readonly signal?: AbortSignal } = {},
  ): Promise<string> {
    await this.pull(spec.image)
    const container = await this.docker.createContainer({
      ...this.options(name, spec),
      OpenStdin: options.input !== undefined,
      StdinOnce: options.input !== undefined,
      AttachStdin: options.input !== undefined,
    })
    const abort = (): void => void container.kill().catch(() => undefined)
    options.signal?.addEventListener('abort', abort)
    try {
      const stream = await container.attach({
        stream: true,
        stdout: true,
        stderr: true,
        stdin: options.input !== undefined,
        hijack: true,
      })
      const [out, err] = [new PassThrough(), new PassThrough()]
      this.docker.modem.demuxStream(stream, out, err)
      const [stdout, stderr] = [collect(out), collect(err)]
      await container.start()
      if (options.input !== undefined) stream.end(options.input)
      const { StatusCode: status } = (await this.connection.streams.getContainer(container.id).wait()) as { StatusCode: number }
      await finished(stream, { writable: false }).catch(() => undefined)
      out.end()
      err.end()
      if (status !== 0) throw new Error(((await stderr).trim() || (await stdout).trim() || `exit code ${status}`).slice(-2_000))
      return await stdout
    } finally {
      options.signal?.removeEventListener('abort', abort)
      await container.remove({ force: true, v: true }).catch(ignoreMissing)
    }
  }

  async memoryBytes(name: string): Promise<number | undefined> {
    const found = await this.inspect(name)
    if (found?.State.Running !== true) return undefined
    return (await cgroupUsage(found.State.Pid).catch(() => undefined))?.memoryBytes
  }

  async lastWords(name: string): Promise<string> {
    const container = this.docker.getContainer(this.names.container(name))
    const logs = await container.logs({ stdout: true, stderr: true, tail: 8 }).catch(() => Buffer.alloc(0))
    // Each piece is preceded by eight bytes that tell of its stream and size.
    return logs
      .toString('utf8')
      .replaceAll(/[\x00-\x02]\x00{3}[\s\S]{4}/g, '')
      .trim()
  }

  private options(name: string, spec: ServiceContainerSpec): Docker.ContainerCreateOptions {
    return {
      Image: spec.image,
      Entrypoint: [...spec.command.slice(0, 1)],
      Cmd: [...spec.command.slice(1)],
      Env: Object.entries(spec.environment).map(([key, value]) => `${key}=${value}`),
      WorkingDir: spec.workingDirectory,
      User: spec.user,
      StopSignal: spec.stopSignal,
      Labels: {
        [INSTALLATION_LABEL]: this.names.installation,
        [PURPOSE_LABEL]: 'service',
        [NAME_LABEL]: name,
      },
      HostConfig: {
        NetworkMode: 'host',
        Mounts: spec.mounts.map(({ source, target, readOnly }) => ({
          Type: 'bind' as const,
          Source: source,
          Target: target ?? source,
          ReadOnly: readOnly ?? false,
        })),
        Tmpfs: { '/tmp': 'rw,mode=1777,size=256m', '/run': 'rw,mode=1777,size=16m' },
        ReadonlyRootfs: true,
        CapDrop: ['ALL'],
        SecurityOpt: ['no-new-privileges:true'],
        Memory: spec.memoryMb * MIB,
        MemorySwap: spec.memoryMb * MIB,
        PidsLimit: spec.pidsLimit,
        LogConfig: { Type: 'json-file', Config: { 'max-size': LOG_BYTES, 'max-file': '2' } },
        // The broker starts it anew, after a look at what is wanted.
        RestartPolicy: { Name: 'no' },
      },
    }
  }

  private async pull(image: string): Promise<void> {
    if (await this.isPresent(image)) return
    try {
      const progress = await this.connection.streams.pull(image)
      await new Promise<void>((resolve, reject) =>
        this.docker.modem.followProgress(progress, (error: Error | null) => (error ? reject(error) : resolve())),
      )
    } catch (error) {
      throw asEngineError(error, `pull the image ${image}`)
    }
  }

  private isPresent(image: string): Promise<boolean> {
    return this.docker
      .getImage(image)
      .inspect()
      .then(
        () => true,
        () => false,
      )
  }

  private async inspect(name: string): Promise<Docker.ContainerInspectInfo | undefined> {
    try {
      return await this.docker.getContainer(this.names.container(name)).inspect()
    } catch (error) {
      if (isNotFound(error)) return undefined
      throw asEngineError(error, `look at the server ${name}`)
    }
  }

  private async remove(name: string): Promise<void> {
    await this.docker.getContainer(this.names.container(name)).remove({ force: true, v: true }).catch(ignoreMissing)
  }
}

function ignoreMissing(error: unknown): void {
  if (!isNotFound(error)) throw error
}

async function collect(stream: PassThrough): Promise<string> {
  const parts: Buffer[] = []
  for await (const part of stream) parts.push(part as Buffer)
  return Buffer.concat(parts).toString('utf8')
}
