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

/** By the program that holds the role: the script that node runs, or the server itself. */
export const ROLE_COMMANDS = {
  control: /apps\/bloomery\/dist\/control\.entry\.js/,
  cell: /apps\/cell\/dist\/main\.js/,
  routerHolder: /apps\/router\/dist\/main\.js/,
  routerWorker: /apps\/router\/dist\/worker\.entry\.js/,
  postgres: /^\S*\/postgres -D /,
  redis: /^\S*redis-server /,
} as const
export type Role = keyof typeof ROLE_COMMANDS

export const findRole = (home: string, role: Role): RoleProcess[] =>
  processesOf(home).filter(({ command }) => ROLE_COMMANDS[role].test(command))

/** Of a family of processes the one whose parent is none of them. */
export function headOf(family: readonly RoleProcess[]): RoleProcess {
  const head = family.find(({ parent }) => !family.some(({ pid }) => pid === parent)) ?? family[0]
  if (!head) throw new Error('No process holds the role.')
  return head
}
