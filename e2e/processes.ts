import { readdirSync, readFileSync } from 'node:fs'

export interface RoleProcess {
  readonly pid: number
  readonly parent: number
  readonly command: string
}

/** The processes of one platform, found by its folder as an operator would find them. */
export function processesOf(home: string): RoleProcess[] {
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid)
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ').trim()
        if (!(readFileSync(`/proc/${pid}/environ`, 'latin1') + command).includes(home)) return []
        const parent = Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1])
        return [{ pid: Number(pid), parent, command }]
      } catch {
        return [] // it ended meanwhile
      }
    })
}

/** By the program that holds the role. */
export const ROLE_COMMANDS = {
  control: /control\.entry/,
  cell: /apps\/cell\/dist\/main/,
  routerHolder: /apps\/router\/dist\/main/,
  routerWorker: /apps\/router\/dist\/worker/,
  postgres: /bin\/postgres .*-D/,
  redis: /redis-server/,
} as const

export const findRole = (home: string, role: keyof typeof ROLE_COMMANDS): RoleProcess[] =>
  processesOf(home).filter(({ command }) => ROLE_COMMANDS[role].test(command))
