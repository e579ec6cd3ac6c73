import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { LaunchError } from './launch-error.js'

/** Runs one of our programs to its end, handing on each line it prints; what it needs in memory goes with it. */
export async function runProgram(options: {
  readonly program: string
  readonly args?: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  readonly onLine?: (line: string) => void
  readonly timeoutMs: number
  readonly what: string
  /** Ends it with all that it started. */
  readonly signal?: AbortSignal
}): Promise<void> {
  const child = spawn(process.execPath, [options.program, ...(options.args ?? [])], {
    env: options.env,
    stdio: ['ignore', 'pipe', 'pipe'],
    // Not in the terminal's group: Ctrl-C is ours to handle, and clean-up must not be cut short by it.
    detached: true,
  })
  const last: string[] = []
  for (const stream of [child.stdout, child.stderr])
    createInterface({ input: stream }).on('line', (line) => {
      last.push(line)
      if (last.length > 40) last.shift()
      options.onLine?.(line)
    })
  const end = (): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGTERM')
    } catch {
      // it has ended
    }
  }
  const timer = setTimeout(end, options.timeoutMs)
  options.signal?.addEventListener('abort', end, { once: true })
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', resolve)
    })
    if (code !== 0) throw new LaunchError(`${options.what} failed:\n${last.join('\n')}`)
  } finally {
    clearTimeout(timer)
    options.signal?.removeEventListener('abort', end)
  }
}
