import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** What the supervisor of a process writes down for whoever comes later; always whole. */
export interface ProcessState {
  readonly supervisor: { readonly pid: number; readonly startTicks: string }
  /** The process whose group gets signals, as the machine counts. */
  readonly target?: number
  readonly startedAt: string
  readonly exit?: { readonly exitCode: number; readonly outOfMemory: boolean; readonly finishedAt: string }
}

export const statePath = (folder: string): string => join(folder, 'state.json')

export function readState(folder: string): ProcessState | undefined {
  try {
    return JSON.parse(readFileSync(statePath(folder), 'utf8')) as ProcessState
  } catch {
    return undefined // not started yet
  }
}

export function writeState(folder: string, state: ProcessState): void {
  const path = statePath(folder)
  writeFileSync(`${path}.new`, JSON.stringify(state))
  renameSync(`${path}.new`, path)
}

/** When a process was started, in the machine's own ticks: with the number it names one process for ever. Undefined when there is none. */
export function startTicksOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? undefined : fields[19]
  } catch {
    return undefined
  }
}

export const isAlive = ({ supervisor }: ProcessState): boolean => startTicksOf(supervisor.pid) === supervisor.startTicks
