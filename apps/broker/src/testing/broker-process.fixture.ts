import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { join } from 'node:path'
import { bundlePrograms } from '@bloomery/testing'

const SOURCES = join(import.meta.dirname, '..')
/** Below node_modules, so that what npm installed is found from there. */
const OUT = join(SOURCES, '../../../node_modules/.cache/bloomery-broker-test', String(process.pid))

/** The broker's program, as a build makes it. */
export async function buildBroker(): Promise<string> {
  await bundlePrograms({
    entryPoints: [join(SOURCES, 'main.ts')],
    outdir: OUT,
    splitting: true,
    npmStaysOutside: true,
  })
  return join(OUT, 'main.js')
}

/** The broker as a process of its own, which can be killed. */
export class BrokerProcess {
  #child: ChildProcess | undefined

  constructor(
    private readonly main: string,
    private readonly env: Readonly<Record<string, string>>,
  ) {}

  /** Resolves with the address at which it listens. */
  start(): Promise<string> {
    const child = spawn(process.execPath, [this.main], {
      env: { PATH: process.env['PATH'], ...this.env },
      stdio: ['ignore', 'inherit', 'pipe'],
    })
    this.#child = child
    return new Promise((resolve, reject) => {
      const said: string[] = []
      child.once('exit', (code) => reject(new Error(`the broker ended with ${code}: ${said.join('\n')}`)))
      createInterface({ input: child.stderr }).on('line', (line) => {
        said.push(line)
        const [, address, port] = /"address":"([^"]+)","port":(\d+)/.exec(line) ?? []
        if (address !== undefined) resolve(`${address}:${port}`)
      })
    })
  }

  /** Resolves when the process is gone. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = new Promise((resolve) => child.once('exit', resolve))
    child.kill(signal)
    await gone
  }
}
