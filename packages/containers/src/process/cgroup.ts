import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isRoot } from '../run.js'

const ROOT = '/sys/fs/cgroup'
const MIB = 1024 * 1024

export interface CgroupLimits {
  readonly memoryMb: number
  readonly pidsLimit: number
  readonly cpuWeight: number
}

/** Control groups of ours, version 1 or 2; only root may make them. */
export interface Cgroups {
  /** Folders that a process joins by writing its number into their cgroup.procs. */
  make(name: string, limits: CgroupLimits): string[]
  remove(name: string): void
  /** All of this installation, as far as they are empty. */
  removeAll(): void
}

/** Undefined where none can be made. */
export function findCgroups(parent: string): Cgroups | undefined {
  if (!isRoot()) return undefined
  for (const open of [version1, version2]) {
    try {
      return open(parent)
    } catch {
      // Not this version, or the hierarchy may not be written to.
    }
  }
  return undefined
}

function version1(parent: string): Cgroups {
  const controllers = ['memory', 'pids', 'cpu', 'cpuacct']
  const folders = controllers.map((controller) => join(ROOT, controller, parent))
  for (const controller of controllers) if (!existsSync(join(ROOT, controller, 'tasks'))) throw new Error('not version 1')
  for (const folder of folders) mkdirSync(folder, { recursive: true })
  const of = (name: string) => [...new Set(folders.map((folder) => join(folder, name)))]
  return {
    make(name, limits) {
      for (const folder of of(name)) mkdirSync(folder, { recursive: true })
      const [memory = '', pids = '', cpu = ''] = folders.map((folder) => join(folder, name))
      const bytes = String(limits.memoryMb * MIB)
      // A group of that name may be left from before with lower limits; the one with swap may never be the lower of the two.
      const withSwap = join(memory, 'memory.memsw.limit_in_bytes')
      if (existsSync(withSwap)) writeFileSync(withSwap, '-1')
      writeFileSync(join(memory, 'memory.limit_in_bytes'), bytes)
      if (existsSync(withSwap)) writeFileSync(withSwap, bytes)
      writeFileSync(join(pids, 'pids.max'), String(limits.pidsLimit))
      writeFileSync(join(cpu, 'cpu.shares'), String(Math.max(2, Math.round((limits.cpuWeight * 1024) / 100))))
      return of(name)
    },
    remove: (name) => [...of(name), ...folders].forEach(removeFolder),
    removeAll: () => folders.forEach(removeTree),
  }
}

function version2(parent: string): Cgroups {
  if (!existsSync(join(ROOT, 'cgroup.controllers'))) throw new Error('not version 2')
  const folder = join(ROOT, parent)
  const prepare = () => {
    mkdirSync(folder, { recursive: true })
    for (const above of [ROOT, folder]) writeFileSync(join(above, 'cgroup.subtree_control'), '+memory +pids +cpu')
  }
  prepare()
  return {
    make(name, limits) {
      prepare()
      const own = join(folder, name)
      mkdirSync(own, { recursive: true })
      writeFileSync(join(own, 'memory.max'), String(limits.memoryMb * MIB))
      if (existsSync(join(own, 'memory.swap.max'))) writeFileSync(join(own, 'memory.swap.max'), '0')
      writeFileSync(join(own, 'pids.max'), String(limits.pidsLimit))
      writeFileSync(join(own, 'cpu.weight'), String(Math.max(1, limits.cpuWeight)))
      return [own]
    },
    remove: (name) => removeFolder(join(folder, name)),
    removeAll: () => removeTree(folder),
  }
}

/** Whether the kernel has ended a process of these groups for want of memory. */
export function wasOutOfMemory(folders: readonly string[]): boolean {
  for (const folder of folders)
    for (const file of ['memory.oom_control', 'memory.events']) {
      const path = join(folder, file)
      if (existsSync(path) && Number(/^oom_kill (\d+)$/m.exec(readFileSync(path, 'utf8'))?.[1] ?? 0) > 0) return true
    }
  return false
}

function removeTree(folder: string): void {
  if (!existsSync(folder)) return
  for (const entry of readdirSync(folder, { withFileTypes: true }))
    if (entry.isDirectory()) removeFolder(join(folder, entry.name))
  removeFolder(folder)
}

function removeFolder(folder: string): void {
  try {
    rmdirSync(folder)
  } catch {
    // Gone already, or its last process is still ending: an empty group costs nothing, and the next clean-up takes it.
  }
}
