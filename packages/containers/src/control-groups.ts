import { cgroupUsage } from './docker/cgroup-usage.js'
import { treeUsage } from './process/process-tree.js'

export { type CgroupLimits, type Cgroups, findCgroups } from './process/cgroup.js'

/** Memory of a program with all that it started: of its control group if it has one of its own, else the sum of what is resident. */
export async function programUsage(pid: number, grouped: boolean): Promise<{ memoryBytes: number }> {
  const found = grouped ? await cgroupUsage(pid).catch(() => undefined) : undefined
  return { memoryBytes: (found ?? treeUsage(pid)).memoryBytes }
}
