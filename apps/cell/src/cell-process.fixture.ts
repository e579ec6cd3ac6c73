import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { bundlePrograms } from '@bloomery/testing'

const SOURCES = import.meta.dirname
/** Below node_modules, so that what npm installed is found from there. */
const OUT = join(SOURCES, '../../../node_modules/.cache/bloomery-cell-test', String(process.pid))

/** The agent's programs, as a build makes them. */
export async function buildCell(): Promise<{ main: string; supervisorEntry: string }> {
  await bundlePrograms({
    entryPoints: ['main.ts', 'process-supervisor.entry.ts'].map((name) => join(SOURCES, name)),
    outdir: OUT,
    npmStaysOutside: true,
  })
  return { main: join(OUT, 'main.js'), supervisorEntry: join(OUT, 'process-supervisor.entry.js') }
}

/** The agent as a process of its own, which can be killed. */
export class CellProcess {
  private child: ChildProcess | undefined

  constructor(
    private readonly main: string,
    private readonly env: Readonly<Record<string, string>>,
  ) {}

  start(more: Record<string, string> = {}): void {
    this.child = spawn(process.execPath, [this.main], {
      env: { PATH: process.env['PATH'], ...this.env, ...more },
      stdio: ['ignore', 'inherit', 'inherit'],
    })
  }

  get pid(): number {
    return this.child?.pid ?? 0
  }

  /** Resolves when the process is gone. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const { child } = this
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = new Promise((resolve) => child.once('exit', resolve))
    child.kill(signal)
    await gone
  }
}
