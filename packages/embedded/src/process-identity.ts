import { execFileSync } from 'node:child_process'
import { readFileSync, readlinkSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

/** A process beyond doubt: pids are used again, a pid with its start time is not. */
export interface ProcessIdentity {
  readonly pid: number
  readonly startedAt: string
}

/** Who has this pid now; undefined for none, and for a zombie. */
export function identify(pid: number): ProcessIdentity | undefined {
  if (process.platform !== 'linux') return identifyByPs(pid)
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // "pid (any text) state ppid … starttime(22nd)"
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined
    return { pid, startedAt: `${bootId()}:${fields[19] ?? ''}` }
  } catch {
    return undefined // no such process
  }
}

function identifyByPs(pid: number): ProcessIdentity | undefined {
  try {
    const [state = '', ...lstart] = execFileSync('ps', ['-o', 'state=,lstart=', '-p', String(pid)], { encoding: 'utf8' })
      .trim()
      .split(/\s+/)
    return state === '' || state.startsWith('Z') ? undefined : { pid, startedAt: lstart.join(' ') }
  } catch {
    return undefined // no such process
  }
}

let boot: string | undefined
const bootId = (): string => (boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim())

/** True for a process that has ended and that its parent has not asked about. */
export function isZombie(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z')
  } catch {
    return false // no such process, or no /proc
  }
}

export function isAlive(identity: ProcessIdentity): boolean {
  return identify(identity.pid)?.startedAt === identity.startedAt
}

export function writePidFile(path: string, pid: number): ProcessIdentity {
  const identity = identify(pid) ?? { pid, startedAt: 'gone' }
  writeFileSync(`${path}.new`, `${JSON.stringify(identity)}\n`, { mode: 0o600 })
  renameSync(`${path}.new`, path)
  return identity
}

/** The process that the file names, if it still runs. */
export function readPidFile(path: string): ProcessIdentity | undefined {
  try {
    const found = JSON.parse(readFileSync(path, 'utf8')) as Partial<ProcessIdentity>
    if (typeof found.pid !== 'number' || typeof found.startedAt !== 'string') return undefined
    const identity = { pid: found.pid, startedAt: found.startedAt }
    return isAlive(identity) ? identity : undefined
  } catch {
    return undefined // no file, or one cut short
  }
}

export function removePidFile(path: string): void {
  rmSync(path, { force: true })
}

/** Sends each signal in turn and gives it its time; resolves once the process is gone. */
export async function stopProcess(
  identity: ProcessIdentity,
  signals: readonly (readonly [signal: NodeJS.Signals, patienceMs: number])[],
): Promise<void> {
  for (const [signal, patienceMs] of signals) {
    if (!isAlive(identity)) return
    try {
      process.kill(identity.pid, signal)
    } catch {
      return // gone between the look and the signal
    }
    for (const end = Date.now() + patienceMs; Date.now() < end && isAlive(identity);) await delay(25)
  }
}

/** The process whose pid begins the file, if it still runs and `mark` stands in its command line. */
export function findByPidFile(path: string, mark: string): ProcessIdentity | undefined {
  try {
    const pid = Number(readFileSync(path, 'utf8').split('\n')[0])
    return Number.isInteger(pid) && pid > 1 && settledCommandLine(pid).includes(mark) ? identify(pid) : undefined
  } catch {
    return undefined // no file
  }
}

/** While a program takes another's place (`exec`), Linux shows no command line; from a cold disk that may take a while. */
function settledCommandLine(pid: number): string {
  for (const end = Date.now() + EXEC_TIMEOUT_MS; ;) {
    const line = commandLine(pid)
    // Threads of the kernel never have one, and no program either.
    if (line !== '' || Date.now() > end || !isProgram(pid)) return line
    Atomics.wait(PAUSE, 0, 0, 2)
  }
}

const EXEC_TIMEOUT_MS = 2_000
const PAUSE = new Int32Array(new SharedArrayBuffer(4))

function isProgram(pid: number): boolean {
  try {
    return identify(pid) !== undefined && readlinkSync(`/proc/${pid}/exe`) !== ''
  } catch {
    return false // gone, or a thread of the kernel
  }
}

function commandLine(pid: number): string {
  try {
    return process.platform === 'linux'
      ? readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
      : execFileSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' })
  } catch {
    return '' // no such process
  }
}
