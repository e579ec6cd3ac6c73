import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, renameSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { z } from 'zod'

/** All that a worker's process is made of but the sockets; whoever has those can start it. */
export const WorkerSpec = z.object({
  slot: z.string().regex(/^w\d+$/),
  /** Changes with program and configuration. */
  generation: z.string(),
  script: z.string(),
  execArgv: z.array(z.string()),
  env: z.record(z.string(), z.string()),
  logFile: z.string(),
})
export type WorkerSpec = z.infer<typeof WorkerSpec>

/** File descriptors at which a worker finds its listening sockets; those for TCP routes are `tcp` and the following. */
const WORKER_FDS = { http: 3, https: 4, tcp: 5 } as const

/** Bound sockets, as a worker is given them. */
export interface WorkerSockets {
  readonly httpFd: number
  readonly httpsFd: number
  readonly tcp: readonly TcpSocket[]
}
export interface TcpSocket {
  readonly port: number
  readonly fd: number
}

/** What this process was given, by the ports that stand among its arguments. */
export const inheritedSockets = (ports: string): WorkerSockets => ({
  httpFd: WORKER_FDS.http,
  httpsFd: WORKER_FDS.https,
  tcp: ports
    .split(',')
    .filter(Boolean)
    .map((port, i) => ({ port: Number(port), fd: WORKER_FDS.tcp + i })),
})

const MAX_LOG_BYTES = 20 * 1024 * 1024

/**
 * Starts a worker that outlives this process: it has a session of its own and writes to a file, since a pipe would break with its
 * reader.
 */
export function spawnWorker(spec: WorkerSpec, sockets: WorkerSockets): number {
  const log = openLog(spec.logFile)
  const tcpPorts = sockets.tcp.map(({ port }) => port).join(',')
  try {
    const child = spawn(process.execPath, [...spec.execArgv, spec.script, spec.slot, spec.generation, tcpPorts], {
      detached: true,
      env: spec.env,
      stdio: ['ignore', log, log, sockets.httpFd, sockets.httpsFd, ...sockets.tcp.map(({ fd }) => fd)],
    })
    child.unref()
    // How it fares is seen on its control socket, whoever started it.
    child.on('error', () => undefined)
    if (child.pid === undefined) throw new Error(`cannot start ${process.execPath}`)
    return child.pid
  } finally {
    closeSync(log)
  }
}

function openLog(path: string): number {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) > MAX_LOG_BYTES) renameSync(path, `${path}.1`)
  return openSync(path, 'a', 0o600)
}
