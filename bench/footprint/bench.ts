import { readdirSync, readFileSync } from 'node:fs'
import { REPOSITORY, startPlatform } from '../../e2e/platform.js'

interface Seen {
  readonly pid: number
  readonly command: string
  readonly pssMb: number
}

const read = (path: string): string => {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}

/**
 * Every process that carries the home folder in its environment or command line, and Postgres' own children, which write a title
 * over theirs: what the start command started, itself included.
 */
function processesOf(home: string): Seen[] {
  const pids = readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid)
  const commandOf = (pid: string) => read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim()
  const marked = pids.filter((pid) => (read(`/proc/${pid}/environ`) + commandOf(pid)).includes(home))
  const children = pids.filter((pid) => {
    const parent = /^PPid:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? ''
    return !marked.includes(pid) && marked.includes(parent) && commandOf(pid).startsWith('postgres: ')
  })
  return [...marked, ...children].map((pid) => {
    const command = commandOf(pid).replaceAll(`${REPOSITORY}/`, '')
    const pss = /^Pss:\s+(\d+) kB/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1]
    return { pid: Number(pid), command: command.slice(0, 120), pssMb: Math.round(Number(pss ?? 0) / 102.4) / 10 }
  })
}

export async function run() {
  const platform = await startPlatform({ engine: 'docker', viaNpm: true })
  try {
    // Idle: a minute after ready, three samples.
    const samples: Seen[][] = []
    for (let i = 0; i < 3; i++) {
      await new Promise((wait) => setTimeout(wait, Number(process.env['BENCH_IDLE_SECONDS'] ?? 20) * 1000))
      samples.push(processesOf(platform.home))
    }
    const totals = samples.map((sample) => Math.round(sample.reduce((sum, { pssMb }) => sum + pssMb, 0))).sort((a, b) => a - b)
    return { totalPssMb: totals[1], totalsPssMb: totals, aimMb: 350, processes: samples.at(-1) }
  } finally {
    await platform.stop()
  }
}
