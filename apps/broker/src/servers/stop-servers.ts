import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { findByPidFile, stopProcess } from '@bloomery/embedded'
import { z } from 'zod'

/** Beside each pid file: what the process is known by, and how it is ended. Enough without the database, which may be gone already. */
const HowToStop = z.object({ mark: z.string(), signals: z.array(z.tuple([z.string(), z.number()])) })
export type HowToStop = z.output<typeof HowToStop>

/** Ends all database servers of an installation that run as programs; their data stay, and the next broker starts them again. */
export async function stopAllServers({ runFolder }: { readonly runFolder: string }): Promise<void> {
  await Promise.all(
    list(runFolder).map(async (name) => {
      const pidFile = join(runFolder, `${name}.pid`)
      const { mark, signals } = HowToStop.parse(JSON.parse(readFileSync(join(runFolder, `${name}.json`), 'utf8')))
      const identity = findByPidFile(pidFile, mark)
      if (identity) await stopProcess(identity, [...(signals as [NodeJS.Signals, number][]), ['SIGKILL', 5_000]])
      endLeftovers(mark)
      rmSync(pidFile, { force: true })
    }),
  )
}

/** What a server has started beside itself (Erlang's port mapper), known by its home, and of no use without it. */
export function endLeftovers(folder: string): void {
  if (process.platform !== 'linux') return
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const environment = readFileSync(`/proc/${name}/environ`, 'latin1').split('\0')
      if (environment.includes(`HOME=${folder}`)) process.kill(Number(name), 'SIGTERM')
    } catch {
      // It is not ours to look at, or has ended meanwhile.
    }
  }
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith('.json'))
      .map((name) => name.slice(0, -'.json'.length))
  } catch {
    return [] // no server was ever made
  }
}
