import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const ACCEPTORS = join(fileURLToPath(new URL('..', import.meta.url)), 'bench/router-sockets/acceptors.mjs')
const ROUNDS = 5
const SECONDS = 2
const TICKS = 100
const WAYS = ['shared', 'handed'].flatMap((way) => [1, 2].map((workers) => ({ way, workers })))

interface Subject {
  readonly name: string
  readonly child: ChildProcess
  readonly port: number
  readonly perCpuSecond: number[]
  failed: number
}

/** What it costs to get a connection into a worker: accepted there on a socket that all share, or handed over by the holder. */
export async function run() {
  const subjects: Subject[] = []
  try {
    for (const { way, workers } of WAYS) {
      const child = spawn(process.execPath, [ACCEPTORS, way, String(workers)], { stdio: ['ignore', 'pipe', 'inherit'] })
      const [text] = (await once(child.stdout, 'data')) as [Buffer]
      subjects.push({ name: `${way}, ${workers}`, child, port: Number(text), perCpuSecond: [], failed: 0 })
    }
    // The first round warms up.
    for (let round = 0; round <= ROUNDS; round++)
      for (const subject of subjects) {
        const before = cpuSeconds(subject.child.pid ?? 0)
        const { stdout } = await promisify(execFile)('wrk', [
          ...['-t1', '-c50', `-d${SECONDS}s`, '-H', 'Connection: close'],
          `http://127.0.0.1:${subject.port}/`,
        ])
        if (round === 0) continue
        const used = cpuSeconds(subject.child.pid ?? 0) - before
        subject.perCpuSecond.push(Number(/(\d+) requests in/.exec(stdout)?.[1] ?? 0) / used)
        subject.failed += /Non-2xx|Socket errors/.test(stdout) ? 1 : 0
      }
    return Object.fromEntries(
      subjects.map(({ name, perCpuSecond, failed }) => [
        name,
        { connectionsPerCpuSecond: Math.round(median(perCpuSecond)), rounds: perCpuSecond.length, roundsWithFailures: failed },
      ]),
    )
  } finally {
    for (const { child } of subjects) for (const pid of tree(child.pid ?? 0)) process.kill(pid, 'SIGKILL')
  }
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

/** A process and those that it started. */
function tree(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
  return [pid, ...children.split(' ').filter(Boolean).map(Number)]
}

const cpuSeconds = (pid: number): number =>
  tree(pid).reduce((sum, each) => {
    const fields = readFileSync(`/proc/${each}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
    return sum + (Number(fields[11]) + Number(fields[12])) / TICKS
  }, 0)
