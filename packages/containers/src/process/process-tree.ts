import { readdirSync, readFileSync } from 'node:fs'

/** A process and all that descend from it. */
export function descendantsOf(root: number): number[] {
  const children = new Map<number, number[]>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const parent = statOf(Number(name))?.parent
    if (parent === undefined) continue
    const siblings = children.get(parent) ?? []
    siblings.push(Number(name))
    children.set(parent, siblings)
  }
  const found: number[] = []
  for (let queue = [root]; queue.length > 0; queue = queue.flatMap((pid) => children.get(pid) ?? [])) found.push(...queue)
  return found
}

const TICK_NANOSECONDS = 10_000_000n
const PAGE_BYTES = 4096

/** CPU and memory of a tree of processes, for machines without control groups of our own. */
export function treeUsage(root: number): { cpuNanoseconds: bigint; memoryBytes: number } {
  let ticks = 0
  let pages = 0
  for (const pid of descendantsOf(root)) {
    const stat = statOf(pid)
    ticks += stat?.ticks ?? 0
    pages += stat?.residentPages ?? 0
  }
  return { cpuNanoseconds: BigInt(ticks) * TICK_NANOSECONDS, memoryBytes: pages * PAGE_BYTES }
}

function statOf(pid: number): { parent: number; ticks: number; residentPages: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const at = (index: number) => Number(fields[index] ?? 0)
    // Its own time and that of children it has waited for.
    return { parent: at(1), ticks: at(11) + at(12) + at(13) + at(14), residentPages: at(21) }
  } catch {
    return undefined // it has ended meanwhile
  }
}
