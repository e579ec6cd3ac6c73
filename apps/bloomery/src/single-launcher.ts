import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { identify, readPidFile, removePidFile } from '@bloomery/embedded'

/** The launcher that runs already. */
export interface OtherLauncher {
  readonly pid: number
  /** Where its platform answers. */
  readonly api: string
}

/**
 * One launcher per home. Returns the one that runs already, or undefined: then it is us. What the pid file names counts only
 * while that very process lives, so a launcher that was killed stands in nobody's way.
 */
export function becomeTheLauncher(run: string, api: string): OtherLauncher | undefined {
  mkdirSync(run, { recursive: true, mode: 0o700 })
  const path = join(run, 'launcher.pid')
  for (;;) {
    const other = readPidFile(path)
    if (other && other.pid !== process.pid) return { pid: other.pid, api: apiOf(path) ?? api }
    if (!other) rmSync(path, { force: true })
    try {
      const file = openSync(path, 'wx', 0o600)
      writeSync(file, JSON.stringify({ ...identify(process.pid), api }))
      closeSync(file)
      return undefined
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      if (other?.pid === process.pid) return undefined
    }
  }
}

function apiOf(path: string): string | undefined {
  try {
    return (JSON.parse(readFileSync(path, 'utf8')) as { api?: string }).api
  } catch {
    return undefined // it resigned meanwhile
  }
}

export const resignAsLauncher = (run: string): void => removePidFile(join(run, 'launcher.pid'))
