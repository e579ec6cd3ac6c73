import { run } from '../run.js'

/** A process that the kernel has ended because its control group had no memory left. */
export interface MemoryVictim {
  readonly process: string
  /** The address space that it had asked for by then: what it wanted, where it does not reserve more than it uses. */
  readonly wantedMb: number
}

const KILL = /Memory cgroup out of memory: Killed process \d+ \(([^)]*)\) total-vm:(\d+)kB/
const SUMMARY = /oom-kill:.*task_memcg=(\S+?),task=/

/** The largest process that the kernel's log says it has ended in a group. `isGroup` tells the group by its path. */
export function findMemoryVictim(kernelLog: string, isGroup: (path: string) => boolean): MemoryVictim | undefined {
  let inGroup = false
  let largest: MemoryVictim | undefined
  for (const line of kernelLog.split('\n')) {
    const summary = SUMMARY.exec(line)
    if (summary?.[1] !== undefined) inGroup = isGroup(summary[1])
    const kill = KILL.exec(line)
    if (!inGroup || kill?.[1] === undefined) continue
    const wantedMb = Math.ceil(Number(kill[2]) / 1024)
    if (largest === undefined || wantedMb > largest.wantedMb) largest = { process: kill[1], wantedMb }
    inGroup = false
  }
  return largest
}

/** Nothing where the kernel's log is not ours to read. */
export const readKernelLog = (): Promise<string> => run('dmesg', []).catch(() => '')
