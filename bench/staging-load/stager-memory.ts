import { readdirSync, readFileSync } from 'node:fs'

const EVERY_MS = 500
/** The program that holds the stager: its own, or that of all roles of a small machine. */
const PROGRAMS = /(stager\/dist\/main|control\.entry)\.js/

/** What the process with a platform's stager holds of memory, in megabytes: before, at most, and in the end. */
export function watchMemory(home: string): { stop(): { before: number; most: number; after: number } } {
  const pid = findStager(home)
  const now = (): number => {
    const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return Math.round(Number(kilobytes ?? 0) / 1024)
  }
  const before = now()
  let most = before
  const timer = setInterval(() => (most = Math.max(most, now())), EVERY_MS)
  return {
    stop: () => {
      clearInterval(timer)
      return { before, most, after: now() }
    },
  }
}

function findStager(home: string): string {
  const found = readdirSync('/proc').find((pid) => {
    if (!/^\d+$/.test(pid)) return false
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      return PROGRAMS.test(command) && readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`BLOOMERY_HOME=${home}\0`)
    } catch {
      return false // ended meanwhile, or not ours to look at
    }
  })
  if (found === undefined) throw new Error(`no process of ${home} holds a stager`)
  return found
}
