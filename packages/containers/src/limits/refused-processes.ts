import { readFile } from 'node:fs/promises'

/** How often the kernel has refused the groups of a process another one, version 1 or 2; undefined where it does not tell. */
export async function refusedProcesses(pid: number): Promise<number | undefined> {
  const groups = (await readFile(`/proc/${pid}/cgroup`, 'utf8')).trim().split('\n')
  for (const line of groups) {
    const [, controllers = '', ...path] = line.split(':')
    const root =
      controllers === '' ? '/sys/fs/cgroup' : controllers.split(',').includes('pids') ? '/sys/fs/cgroup/pids' : undefined
    if (root === undefined) continue
    const events = await readFile(`${root}${path.join(':')}/pids.events`, 'utf8').catch(() => '')
    const found = /^max (\d+)$/m.exec(events)?.[1]
    if (found !== undefined) return Number(found)
  }
  return undefined
}
