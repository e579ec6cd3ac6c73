import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { findCgroups, type Cgroups, programUsage } from '@bloomery/containers/control-groups'
import { findByPidFile, isAlive, type ServerUser, spawnDetached, stopProcess } from '@bloomery/embedded'
import { ServiceFault } from '../engines/engine.js'
import type { Runtime } from './runtime.js'
import { endLeftovers, type HowToStop } from './stop-servers.js'
import type { ProgramPaths, RunOptions, Server, ServerCommand, Software } from './server-host.js'

const RUN_TIMEOUT_MS = 30 * 60_000
const PIDS = 2_048
/** Joins its control groups and writes its number down before it becomes the server, so that none is ever lost sight of. */
const BECOME =
  'for g in $1; do echo $$ > "$g/cgroup.procs" || exit 125; done; echo $$ > "$2"; ulimit -n 65536 2>/dev/null; ulimit -c 0; shift 2; exec "$@"'

export interface ProgramRuntimeOptions {
  readonly installationId: string
  /** Where pid files lie; only the platform may write there. */
  readonly runFolder: string
  readonly logFolder: string
  /** Whom servers run as; undefined: as whoever runs the broker. */
  readonly owner: ServerUser | undefined
}

/** Servers as programs of this machine: unprivileged, in sessions of their own, so that they outlive the broker. */
export class ProgramRuntime implements Runtime {
  readonly kind = 'program'
  readonly #groups: Cgroups | undefined

  constructor(private readonly options: ProgramRuntimeOptions) {
    mkdirSync(options.runFolder, { recursive: true, mode: 0o700 })
    this.#groups = findCgroups(`bloomery-services-${options.installationId.replaceAll(/[^A-Za-z0-9]/g, '').slice(0, 12)}`)
    // A server's group cannot go before the last of its processes has ended: those that were left then are empty now.
    this.#groups?.removeAll()
  }

  find(software: Software): Promise<{ from: string; programs: ProgramPaths; ready: boolean } | undefined> {
    const programs = software.locate()
    const [first] = Object.values(programs ?? {})
    return Promise.resolve(programs && first !== undefined ? { from: first, programs, ready: true } : undefined)
  }

  listenAddress(address: string): string {
    return address
  }

  async start(server: Server, software: Software, { command, args, env }: ServerCommand): Promise<void> {
    const howToStop: HowToStop = { mark: server.folder, signals: software.stopSignals.map(([signal, ms]) => [signal, ms]) }
    writeFileSync(join(this.options.runFolder, `${server.name}.json`), JSON.stringify(howToStop))
    const groups = this.#groups?.make(server.name, { memoryMb: server.memoryMb, pidsLimit: PIDS, cpuWeight: 50 }) ?? []
    const identity = await spawnDetached({
      command: '/bin/sh',
      args: ['-c', BECOME, 'become', groups.join(' '), this.#pidFile(server), ...this.#drop(), command, ...args],
      cwd: server.folder,
      logFile: this.#logFile(server),
      env: { HOME: server.folder, TMPDIR: '/tmp', ...env },
    })
    // The shell writes the same, in case that this process dies here; its command line holds the folder as the server's will.
    if (isAlive(identity)) writeFileSync(this.#pidFile(server), `${identity.pid}\n`)
  }

  isRunning(server: Server): Promise<boolean> {
    return Promise.resolve(findByPidFile(this.#pidFile(server), server.folder) !== undefined)
  }

  async stop(server: Server, software: Software): Promise<void> {
    const identity = findByPidFile(this.#pidFile(server), server.folder)
    if (identity) await stopProcess(identity, [...software.stopSignals, ['SIGKILL', 5_000]])
    endLeftovers(server.folder)
    for (const suffix of ['pid', 'json']) rmSync(join(this.options.runFolder, `${server.name}.${suffix}`), { force: true })
    this.#groups?.remove(server.name)
  }

  run(server: Server, software: Software, program: string, args: readonly string[], options: RunOptions): Promise<string> {
    const path = software.locate()?.[program]
    if (path === undefined)
      throw new ServiceFault(
        `This needs the program ${program}, which is not on the platform's machine. Ask its operator for it: ${software.remedy}.`,
      )
    const [command = '', ...rest] = [...this.#drop(), path, ...args]
    return new Promise((resolve, reject) => {
      const child = execFile(
        command,
        rest,
        {
          cwd: server.folder,
          env: { PATH: process.env['PATH'], LC_ALL: 'C', HOME: server.folder, ...options.env },
          timeout: options.timeoutMs ?? RUN_TIMEOUT_MS,
          maxBuffer: 64 * 1024 * 1024,
          ...(options.signal ? { signal: options.signal } : {}),
        },
        (error, stdout, stderr) => {
          if (error) reject(new Error(`${program}: ${(stderr.trim() || error.message).slice(-2_000)}`, { cause: error }))
          else resolve(stdout)
        },
      )
      // A program that ends before it has read all says why by itself.
      child.stdin?.on('error', () => undefined)
      child.stdin?.end(options.input ?? '')
    })
  }

  async usage(server: Server): Promise<{ memoryBytes: number } | undefined> {
    const identity = findByPidFile(this.#pidFile(server), server.folder)
    return identity ? programUsage(identity.pid, this.#groups !== undefined) : undefined
  }

  lastWords(server: Server): Promise<string> {
    const path = this.#logFile(server)
    return Promise.resolve(existsSync(path) ? readFileSync(path, 'utf8').trimEnd().split('\n').slice(-8).join('\n') : '')
  }

  #pidFile = (server: Pick<Server, 'name'>): string => join(this.options.runFolder, `${server.name}.pid`)
  #logFile = (server: Pick<Server, 'name'>): string => join(this.options.logFolder, `service-${server.name}.log`)

  /** As root: to the servers' own user, with nothing to get rights back by. */
  #drop(): string[] {
    const { owner } = this.options
    if (!owner) return []
    return [
      'setpriv',
      `--reuid=${owner.uid}`,
      `--regid=${owner.gid}`,
      '--clear-groups',
      '--no-new-privs',
      '--inh-caps=-all',
      '--bounding-set=-all',
      '--',
    ]
  }
}
