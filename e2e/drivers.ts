import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { constants, setPriority, tmpdir } from 'node:os'
import { REPOSITORY, type Platform } from './platform.js'

export interface Outcome {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
  /** stdout and stderr as they came. */
  readonly all: string
}
export interface RunOptions {
  readonly cwd?: string
  readonly input?: string
  readonly env?: Record<string, string>
  readonly timeoutMs?: number
  /** After everything else on the machine, as a client that runs on another one. */
  readonly lowPriority?: boolean
}

/** A command-line client with a session of its own; bloom and cf take the same words. */
export interface Driver {
  readonly name: 'bloom' | 'cf'
  run(args: readonly string[], options?: RunOptions): Promise<Outcome>
  /** As `run`, but fails unless the client ends with 0. */
  ok(args: readonly string[], options?: RunOptions): Promise<Outcome>
  close(): void
}

/** The real client, where there is one on PATH. */
export const cfOnPath = (): string | undefined =>
  (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((folder) => join(folder, 'cf'))
    .find((path) => existsSync(path))

/** bloom always; cf too where one is on PATH. What is left out is said. */
export const availableDrivers = (): ('bloom' | 'cf')[] => {
  if (cfOnPath()) return ['bloom', 'cf']
  process.stderr.write('LEFT OUT: no `cf` on PATH, so these stories are driven by bloom alone.\n')
  return ['bloom']
}

export async function openDriver(
  name: 'bloom' | 'cf',
  platform: Platform,
  credentials = { user: 'admin', password: platform.password, org: 'bloomery', space: 'dev' },
): Promise<Driver> {
  const home = mkdtempSync(join(tmpdir(), `bloomery-${name}-`))
  const [command, ...leading] =
    name === 'cf' ? [cfOnPath() ?? 'cf'] : [process.execPath, join(REPOSITORY, 'apps/cli/bin/bloom.mjs')]
  const run = (args: readonly string[], options: RunOptions = {}): Promise<Outcome> =>
    new Promise((done, fail) => {
      const child = spawn(command, [...leading, ...args], {
        cwd: options.cwd ?? home,
        env: {
          PATH: process.env['PATH'],
          HOME: home,
          CF_HOME: home,
          BLOOM_HOME: home,
          CF_COLOR: 'false',
          NO_COLOR: '1',
          ...options.env,
        },
        stdio: ['pipe', 'pipe', 'pipe'],
      })
      let [stdout, stderr, all] = ['', '', '']
      if (options.lowPriority && child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_LOW)
      child.stdout.on('data', (chunk: Buffer) => ((stdout += chunk.toString()), (all += chunk.toString())))
      child.stderr.on('data', (chunk: Buffer) => ((stderr += chunk.toString()), (all += chunk.toString())))
      const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? 300_000)
      child.once('error', fail)
      child.once('close', (code) => {
        clearTimeout(timer)
        done({ code: code ?? -1, stdout, stderr, all })
      })
      child.stdin.end(options.input ?? '')
    })
  const ok = async (args: readonly string[], options?: RunOptions): Promise<Outcome> => {
    const outcome = await run(args, options)
    if (outcome.code !== 0) throw new Error(`${name} ${args.join(' ')} ended with ${outcome.code}:\n${outcome.all.slice(-4000)}`)
    return outcome
  }
  if (name === 'cf') await ok(['api', platform.api])
  await ok([
    'login',
    ...(name === 'bloom' ? ['-a', platform.api] : []),
    '-u',
    credentials.user,
    '-p',
    credentials.password,
    '-o',
    credentials.org,
    '-s',
    credentials.space,
  ])
  return { name, run, ok, close: () => rmSync(home, { recursive: true, force: true }) }
}
