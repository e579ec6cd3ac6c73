import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { identify, readPidFile, removePidFile } from '@bloomery/embedded'

/**
 * One launcher per home. Returns the pid of the one that runs already, or undefined: then it is us. What the pid file names
 * counts only while that very process lives, so a launcher that was killed stands in nobody's way.
 */
export function becomeTheLauncher(run: string): number | undefined {
  const path = join(run, 'launcher.pid')
  for (;;) {
    const other = readPidFile(path)
    if (other && other.pid !== process.pid) return other.pid
    if (!other) rmSync(path, { force: true })
    try {
      const file = openSync(path, 'wx', 0o600)
      writeSync(file, JSON.stringify(identify(process.pid)))
      closeSync(file)
      return undefined
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      if (other?.pid === process.pid) return undefined
    }
  }
}

export const resignAsLauncher = (run: string): void => removePidFile(join(run, 'launcher.pid'))
