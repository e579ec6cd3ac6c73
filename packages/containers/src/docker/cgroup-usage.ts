import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'

/** CPU and memory of a process's control groups, version 1 or 2, read from the machine's own files: microseconds instead of the engine's second. */
export async function cgroupUsage(pid: number): Promise<{ cpuNanoseconds: bigint; memoryBytes: number } | undefined> {
  const groups = (await readFile(`/proc/${pid}/cgroup`, 'utf8')).trim().split('\n')
  const pathOf = (controller: string) =>
    groups
      .map((line) => line.split(':'))
      .find(([, controllers]) => (controller === '' ? controllers === '' : controllers?.split(',').includes(controller)))
      ?.slice(2)
      .join(':')
  const memory = pathOf('memory')
  const cpu = pathOf('cpuacct')
  if (memory !== undefined && cpu !== undefined) return version1(memory, cpu)
  const unified = pathOf('')
  return unified === undefined ? undefined : version2(unified)
}

async function version1(memory: string, cpu: string): Promise<{ cpuNanoseconds: bigint; memoryBytes: number }> {
  const [nanoseconds, bytes, stat] = await Promise.all([
    readFile(`/sys/fs/cgroup/cpuacct${cpu}/cpuacct.usage`, 'utf8'),
    readFile(`/sys/fs/cgroup/memory${memory}/memory.usage_in_bytes`, 'utf8'),
    readFile(`/sys/fs/cgroup/memory${memory}/memory.stat`, 'utf8'),
  ])
  return {
    cpuNanoseconds: BigInt(nanoseconds.trim()),
    memoryBytes: Math.max(0, Number(bytes) - numberAfter(stat, 'total_inactive_file')),
  }
}

async function version2(seen: string): Promise<{ cpuNanoseconds: bigint; memoryBytes: number }> {
  const path = fromTheTop(seen)
  const [cpu, bytes, stat] = await Promise.all([
    readFile(`/sys/fs/cgroup${path}/cpu.stat`, 'utf8'),
    readFile(`/sys/fs/cgroup${path}/memory.current`, 'utf8'),
    readFile(`/sys/fs/cgroup${path}/memory.stat`, 'utf8'),
  ])
  return {
    cpuNanoseconds: BigInt(numberAfter(cpu, 'usage_usec')) * 1000n,
    memoryBytes: Math.max(0, Number(bytes) - numberAfter(stat, 'inactive_file')),
  }
}

/**
 * An agent that is in a container itself sees its siblings' groups as `/../name`, relative to its own: below which parent they lie
 * is the engine's custom (with systemd, or without).
 */
function fromTheTop(path: string): string {
  if (!path.startsWith('/../')) return path
  const below = path.replace(/^(?:\/\.\.)+/, '')
  return (
    ['/system.slice', '/docker', ''].map((parent) => parent + below).find((one) => existsSync(`/sys/fs/cgroup${one}`)) ?? path
  )
}

const numberAfter = (text: string, key: string): number => Number(new RegExp(`^${key} (\\d+)$`, 'm').exec(text)?.[1] ?? 0)
