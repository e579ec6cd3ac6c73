import { spawn } from 'node:child_process'
import { utimesSync, writeFileSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { OutputMeter } from '../output/meter.js'
import { RingWriter } from '../output/ring-writer.js'
import { wasOutOfMemory } from './cgroup.js'
import { startTicksOf, writeState } from './process-state.js'
import { treeUsage } from './process-tree.js'

/** What the supervisor is told over its standard input; never on disk, for the environment is secret. */
export interface SuperviseOrder {
  readonly folder: string
  readonly ring: string
  readonly rate: number
  readonly command: readonly string[]
  readonly environment: Readonly<Record<string, string>>
  readonly cwd: string
  /** bubblewrap tells on descriptor 3 which process stands for the sandbox. */
  readonly tellsItsChild: boolean
  readonly cgroups: readonly string[]
  /** Measured and enforced here where there is no control group. */
  readonly memoryBytes: number | undefined
  readonly fileDescriptors: number
  readonly fileSizeMb: number | undefined
  /** Touched at the end, so that the engine looks again. */
  readonly bell: string
}

const MEASURE_MS = 500
const DRAIN_MS = 1000
/** Joins its control groups before anything of the app runs. */
const ENTER =
  'for g in $1; do echo $$ > "$g/cgroup.procs" || exit 125; done; ulimit -n "$2"; ulimit -f "$3"; ulimit -c 0; shift 3; exec "$@"'
/** What `ulimit -f` counts in. */
const BLOCKS_PER_MIB = 2048

/** The life of one process: owns its output, its end, and nothing else; survives the agent. Reads a SuperviseOrder from stdin. */
export async function runProcessSupervisor(): Promise<void> {
  const order = JSON.parse(await readAll(process.stdin)) as SuperviseOrder
  const { folder } = order
  const supervisor = { pid: process.pid, startTicks: startTicksOf(process.pid) ?? '' }
  const ring = new RingWriter(order.ring)
  const meter = new OutputMeter(order.rate, (stream, text) => ring.append(stream, text), performance.now())
  const child = spawn(
    '/bin/sh',
    [
      ...['-c', ENTER, 'enter', order.cgroups.join(' '), String(order.fileDescriptors)],
      order.fileSizeMb === undefined ? 'unlimited' : String(order.fileSizeMb * BLOCKS_PER_MIB),
      ...order.command,
    ],
    {
      cwd: order.tellsItsChild ? folder : order.cwd,
      env: { ...order.environment },
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', order.tellsItsChild ? 'pipe' : 'ignore'],
    },
  )
  const started = { supervisor, startedAt: new Date().toISOString() }
  const exited = new Promise<number>((resolve) => {
    child.once('error', (error) => {
      ring.append('ERR', Buffer.from(error.message))
      resolve(126)
    })
    child.once('exit', (code, signal) => resolve(signal === null ? (code ?? 1) : signal === 'SIGKILL' ? 137 : 143))
  })
  let target = child.pid
  let ended = false
  const signalAll = (signal: NodeJS.Signals) => {
    // Once it has ended, its number may be another's.
    for (const to of target === undefined ? [] : ended ? [-target] : [-target, target])
      try {
        process.kill(to, signal)
        if (signal !== 'SIGKILL') return
      } catch {
        // It has ended already, or leads no group yet.
      }
  }
  process.on('SIGTERM', () => signalAll('SIGTERM'))
  for (const ignored of ['SIGINT', 'SIGHUP', 'SIGQUIT'] as const) process.on(ignored, () => undefined)
  const reading = Promise.all([read(child.stdout, 'OUT', meter, ring), read(child.stderr, 'ERR', meter, ring)])
  if (order.tellsItsChild) {
    const info = JSON.parse((await readAll(child.stdio[3] as Readable)) || '{}') as { 'child-pid'?: number }
    target = info['child-pid'] ?? target
  }
  writeState(folder, { ...started, ...(target === undefined ? {} : { target }) })
  process.stdout.write('started\n')

  let tookTooMuch = false
  const { memoryBytes } = order
  const watching = setInterval(() => {
    if (memoryBytes === undefined || child.pid === undefined || treeUsage(child.pid).memoryBytes <= memoryBytes) return
    tookTooMuch = true
    signalAll('SIGKILL')
  }, MEASURE_MS)
  const status = await exited
  ended = true
  clearInterval(watching)
  signalAll('SIGKILL')
  // Something that left the group may hold the pipes open for ever.
  await Promise.race([reading, delay(DRAIN_MS)])
  ring.close()
  const outOfMemory = tookTooMuch || (status !== 0 && wasOutOfMemory(order.cgroups))
  writeState(folder, {
    ...started,
    exit: { exitCode: tookTooMuch ? 137 : status, outOfMemory, finishedAt: new Date().toISOString() },
  })
  ringBell(order.bell)
  process.exit(0)
}

async function read(source: Readable | null, stream: 'OUT' | 'ERR', meter: OutputMeter, ring: RingWriter): Promise<void> {
  for await (const chunk of (source ?? []) as AsyncIterable<Buffer>) {
    meter.feed(stream, chunk, performance.now())
    ring.flush()
    while (meter.pauseMs(performance.now()) > 0) await delay(meter.pauseMs(performance.now()))
  }
  meter.end(stream, performance.now())
  ring.flush()
}

async function readAll(source: Readable): Promise<string> {
  const parts: Buffer[] = []
  for await (const part of source) parts.push(part as Buffer)
  return Buffer.concat(parts).toString('utf8')
}

function ringBell(path: string): void {
  const now = new Date()
  try {
    utimesSync(path, now, now)
  } catch {
    writeFileSync(path, '')
  }
}
