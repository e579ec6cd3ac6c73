import { existsSync, realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** A running role, ended in order by `close`. */
export interface RunningRole {
  close(): Promise<void>
}
type ErrorClass = abstract new (...args: never[]) => Error

/**
 * Runs a role as a process of its own when `moduleUrl` is the program that Node was asked for; does nothing where another module imports it.
 * SIGTERM and SIGINT close it once. Errors named in `known` are the operator's to mend: their message alone is shown, then the process
 * ends with `misconfiguredStatus` (1); any other error ends it with 1 and its stack.
 */
export async function runAsProgram<Role extends RunningRole>(
  moduleUrl: string,
  start: (env: NodeJS.ProcessEnv) => Promise<Role>,
  options: {
    readonly known: readonly ErrorClass[]
    readonly misconfiguredStatus?: number
    /** Called once it runs: further signals, an end of its own. */
    readonly started?: (role: Role) => void
  },
): Promise<void> {
  if (!isProgram(moduleUrl)) return
  try {
    const role = await start(process.env)
    let closing = false
    for (const signal of ['SIGTERM', 'SIGINT'] as const)
      process.on(signal, () => {
        if (closing) return
        closing = true
        void role.close().then(() => process.exit(0))
      })
    options.started?.(role)
  } catch (error) {
    const known = options.known.some((each) => error instanceof each)
    console.error(known && error instanceof Error ? error.message : error)
    process.exit(known ? (options.misconfiguredStatus ?? 1) : 1)
  }
}

function isProgram(moduleUrl: string): boolean {
  const asked = process.argv[1]
  return asked !== undefined && existsSync(asked) && realpathSync(asked) === fileURLToPath(moduleUrl)
}
