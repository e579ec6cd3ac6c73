import { spawn } from 'node:child_process'
import { closeSync, openSync, renameSync, statSync } from 'node:fs'
import type { ServerUser } from './storage.js'
import { identify, type ProcessIdentity } from './process-identity.js'

/** A server that outlives the process which started it. */
export interface EmbeddedServer {
  readonly url: string
  readonly identity: ProcessIdentity
  /** True where a server of an earlier run was found and taken over. */
  readonly adopted: boolean
  stop(): Promise<void>
}

const LOG_LIMIT = 8 * 1024 * 1024

/** Starts a program detached, in a session of its own, its output appended to a log that is turned over at 8 MB. */
export function spawnDetached(options: {
  readonly command: string
  readonly args: readonly string[]
  readonly cwd: string
  readonly logFile: string
  readonly user?: ServerUser | undefined
  /** All of it; PATH is added where it is absent. */
  readonly env: Readonly<Record<string, string>>
  /** Told of its end while this process lives. */
  readonly onExit?: (code: number | null, signal: NodeJS.Signals | null) => void
}): Promise<ProcessIdentity> {
  const log = openLog(options.logFile)
  try {
    const child = spawn(options.command, [...options.args], {
      cwd: options.cwd,
      detached: true,
      stdio: ['ignore', log, log],
      env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C', ...options.env },
      ...(options.user ? { uid: options.user.uid, gid: options.user.gid } : {}),
    })
    child.unref()
    if (options.onExit) child.once('exit', options.onExit)
    return new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('spawn', () => {
        const pid = child.pid ?? -1
        resolve(identify(pid) ?? { pid, startedAt: 'gone' })
      })
    })
  } finally {
    closeSync(log)
  }
}

export function openLog(path: string): number {
  try {
    if (statSync(path).size > LOG_LIMIT) renameSync(path, `${path}.1`)
  } catch {
    // no log yet
  }
  return openSync(path, 'a', 0o600)
}
