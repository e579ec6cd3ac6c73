import { createHash } from 'node:crypto'
import { existsSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { isAlive, spawnDetached, stopProcess, type ProcessIdentity } from '@bloomery/embedded'
import { z } from 'zod'
import { LaunchError } from './launch-error.js'
import type { Ward } from './supervisor.js'

/** A role's program with its environment. */
export interface RoleProgram {
  readonly name: string
  /** Absolute path of the built program. */
  readonly program: string
  readonly nodeOptions: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** How long it may take to let go of its work. */
  readonly graceMs: number
  /** It takes over from the one that runs, which ends by itself: an old one is not stopped first. */
  readonly takesOver?: boolean
}

/** How long an old process may take to notice that a new one has taken over. */
const HAND_OVER_MS = 30_000

/** By this exit code a role says that starting it again is in vain until someone changes its configuration. */
export const EXIT_MISCONFIGURED = 78

// The rest of the environment (PWD, terminal, …) differs between any two starts.
const SETTINGS = /^(BLOOMERY_|DOCKER_|NODE_|SSL_|DATABASE_URL$|REDIS_URL$|BLOBSTORE_URL$|AWS_)|_proxy$/i

const Record_ = z.object({ pid: z.number(), startedAt: z.string(), digest: z.string() })

/**
 * A role in a process of its own that outlives the launcher. The next launcher finds it by its pid file and takes it over if
 * it runs the same program with the same settings; else it is replaced.
 */
export class RoleProcess implements Ward {
  readonly name: string
  readonly #pidFile: string
  readonly #logFile: string
  #identity: ProcessIdentity | undefined
  #predecessor: ProcessIdentity | undefined
  #misconfigured = false

  constructor(
    readonly role: RoleProgram,
    folders: { readonly run: string; readonly logs: string },
  ) {
    this.name = role.name
    this.#pidFile = join(folders.run, `${role.name}.pid`)
    this.#logFile = join(folders.logs, `${role.name}.log`)
  }

  async ensure(): Promise<{ identity: ProcessIdentity; adopted: boolean }> {
    const digest = this.#digest()
    const running = readRecord(this.#pidFile)
    if (running && running.digest === digest) {
      this.#identity = running
      return { identity: running, adopted: true }
    }
    const handsOver = running !== undefined && this.role.takesOver === true
    if (running && !handsOver) await this.#end(running)
    if (!existsSync(this.role.program))
      throw new LaunchError(`${this.role.program} has not been built. Run npm run build, then npm start again.`)
    this.#misconfigured = false
    const identity = await spawnDetached({
      command: process.execPath,
      args: [...this.role.nodeOptions, this.role.program],
      cwd: '/',
      logFile: this.#logFile,
      env: this.role.env,
      onExit: (code) => {
        this.#misconfigured = code === EXIT_MISCONFIGURED
      },
    })
    this.#identity = identity
    writeFileSync(`${this.#pidFile}.new`, JSON.stringify({ ...identity, digest }), { mode: 0o600 })
    renameSync(`${this.#pidFile}.new`, this.#pidFile)
    if (handsOver) {
      this.#predecessor = running
      await this.#untilHandedOver(running, identity)
    }
    return { identity, adopted: false }
  }

  /** The old process ends once the new one has its work. If the new one fails, the old one goes on; one that hangs is killed. */
  async #untilHandedOver(old: ProcessIdentity, successor: ProcessIdentity): Promise<void> {
    for (const end = Date.now() + HAND_OVER_MS; Date.now() < end; await delay(50))
      if (!isAlive(old) || !isAlive(successor)) return
    await stopProcess(old, [['SIGKILL', 2_000]])
  }

  /** Why waiting for it is in vain, in its own words. */
  get complaint(): string | undefined {
    return this.#misconfigured ? this.lastWords() : undefined
  }

  lastWords(lines = 12): string {
    if (!existsSync(this.#logFile)) return ''
    return readFileSync(this.#logFile, 'utf8').trimEnd().split('\n').slice(-lines).join('\n')
  }

  get logFile(): string {
    return this.#logFile
  }

  async stop(): Promise<void> {
    // What it takes over from a dead one must end too, and only it knows how.
    if (this.role.takesOver && this.#identity && !isAlive(this.#identity)) await this.ensure()
    if (this.#predecessor) await this.#end(this.#predecessor)
    const running = this.#identity ?? readRecord(this.#pidFile)
    if (running) await this.#end(running)
    rmSync(this.#pidFile, { force: true })
  }

  #end(identity: ProcessIdentity): Promise<void> {
    return stopProcess(identity, [
      ['SIGTERM', this.role.graceMs],
      ['SIGKILL', 2_000],
    ])
  }

  /** Program and settings; a new build or a changed setting replaces the process. */
  #digest(): string {
    const { size, mtimeMs } = existsSync(this.role.program) ? statSync(this.role.program) : { size: 0, mtimeMs: 0 }
    const settings = Object.entries(this.role.env)
      .filter(([name]) => SETTINGS.test(name))
      .sort(([a], [b]) => (a < b ? -1 : 1))
    return createHash('sha256')
      .update(JSON.stringify([this.role.program, size, mtimeMs, this.role.nodeOptions, settings]))
      .digest('hex')
  }
}

function readRecord(path: string): z.output<typeof Record_> | undefined {
  try {
    const found = Record_.parse(JSON.parse(readFileSync(path, 'utf8')))
    return isAlive(found) ? found : undefined
  } catch {
    return undefined // no file, or one cut short
  }
}

/** Whether a role of an earlier start still runs, as its pid file tells. */
export const runsFromBefore = (run: string, name: string): boolean => readRecord(join(run, `${name}.pid`)) !== undefined
