import { execFile } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { isAlive, readPidFile, spawnDetached, stopProcess, writePidFile } from '@bloomery/embedded'
import { hasProgram } from './install.js'
import type { Settings } from './settings.js'
import type { Ward } from './supervisor.js'

const START_TIMEOUT_MS = 30_000

/** True where a Docker engine answers at DOCKER_HOST or its usual socket. */
export function dockerAnswers(timeoutMs = 3_000): Promise<boolean> {
  const host = process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock'
  // Engines behind TLS or ssh are the client's to reach.
  if (!/^(unix|tcp|http):\/\//.test(host) || process.env['DOCKER_TLS_VERIFY']) return dockerClientAnswers()
  const where = host.startsWith('unix://')
    ? { socketPath: host.slice('unix://'.length) }
    : { host: new URL(host).hostname, port: Number(new URL(host).port) }
  return new Promise((resolve) => {
    const call = request({ ...where, path: '/_ping', timeout: timeoutMs }, (response) => {
      response.resume()
      resolve(response.statusCode === 200)
    })
    call.once('error', () => resolve(false))
    call.once('timeout', () => call.destroy())
    call.end()
  })
}

const dockerClientAnswers = (): Promise<boolean> =>
  promisify(execFile)('docker', ['version', '--format', '{{.Server.Version}}'], { timeout: 5_000 }).then(
    () => true,
    () => false,
  )

const pidFileOf = (settings: Settings): string => join(settings.paths.run, 'dockerd.pid')

/** True where the daemon is installed, is not said to be elsewhere, and this user may run it. */
export const mayStartDocker = (): boolean => process.getuid?.() === 0 && !process.env['DOCKER_HOST'] && hasProgram('dockerd')

/** Starts the engine's daemon where nobody runs it. */
export async function startDockerDaemon(settings: Settings): Promise<boolean> {
  if (!mayStartDocker()) return false
  const logFile = join(settings.paths.roleLogs, 'dockerd.log')
  const identity = await spawnDetached({
    command: 'dockerd',
    // live-restore: containers outlive the daemon. No userland proxy: a process per published port copies every byte.
    args: ['--live-restore', '--userland-proxy=false'],
    cwd: '/',
    logFile,
    env: Object.fromEntries(
      Object.entries(process.env).filter(
        (entry): entry is [string, string] =>
          entry[1] !== undefined && !entry[0].startsWith('npm_') && entry[0] !== 'BLOOMERY_HOME',
      ),
    ),
  })
  writePidFile(pidFileOf(settings), identity.pid)
  for (const end = Date.now() + START_TIMEOUT_MS; Date.now() < end; await delay(100)) {
    if (await dockerAnswers()) return true
    if (!isAlive(identity)) break
  }
  await stopProcess(identity, [['SIGTERM', 5_000]])
  rmSync(pidFileOf(settings), { force: true })
  return false
}

/** The daemon as a process that shall run, if it was this platform that started it. */
export function dockerDaemonWard(settings: Settings): Ward | undefined {
  if (!readPidFile(pidFileOf(settings))) return undefined
  return {
    name: 'dockerd',
    ensure: async () => {
      const running = readPidFile(pidFileOf(settings))
      if (running) return { identity: running, adopted: true }
      // Someone else may have been quicker, a service manager say; then it is theirs to look after, and its end is looked for again.
      if (!(await dockerAnswers()) && !(await startDockerDaemon(settings)))
        throw new Error(`the Docker engine does not start again: ${dockerDaemonComplaint(settings)}`)
      const identity = readPidFile(pidFileOf(settings))
      if (!identity) throw new Error('another Docker engine has taken its place')
      return { identity, adopted: false }
    },
    stop: () => stopDockerDaemon(settings),
  }
}

/** Why the daemon did not start, as far as its log tells. */
export function dockerDaemonComplaint(settings: Settings): string {
  try {
    const lines = readFileSync(join(settings.paths.roleLogs, 'dockerd.log'), 'utf8').trimEnd().split('\n')
    return lines.findLast((line) => /failed|error/i.test(line)) ?? lines.at(-1) ?? ''
  } catch {
    return '' // it never came to write one
  }
}

/** Stops the daemon if it was this platform that started it, and nobody else's containers run on it. */
export async function stopDockerDaemon(settings: Settings): Promise<void> {
  const identity = readPidFile(pidFileOf(settings))
  if (!identity) return
  const { stdout } = await promisify(execFile)('docker', ['ps', '-q'], { timeout: 10_000 }).catch(() => ({ stdout: '?' }))
  if (stdout.trim() !== '') return
  await stopProcess(identity, [['SIGTERM', 15_000]])
  rmSync(pidFileOf(settings), { force: true })
}
