import { spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'

export interface DevelopmentServerOptions {
  /** The whole command: the program, then its arguments. */
  readonly command: readonly [string, ...string[]]
  /** Where it runs, where its socket and its data lie. */
  readonly folder: string
  readonly log: (line: string) => void
}

/** The server behind the gate: kept running while the gate does. */
export interface DevelopmentServer {
  isReady(): boolean
  /** Writes a consistent copy of the data to a file in the folder. */
  backup(file: string): Promise<void>
  /** Starts it anew; with a backup at the place for it, with the backup's data. Rejects where that was refused; the data are as before then. */
  restart(): Promise<void>
  stop(): Promise<void>
}

/** A backup that is to be restored lies here, in the server's folder. */
export const RESTORE_FILE = 'restore.zip'
export const DATA_FILE = 'data.mv'
export const SOCKET_FILE = 'server.sock'

const BACKOFF_MS = [250, 1_000, 4_000, 15_000]
const STOP_PATIENCE_MS = 10_000
const START_PATIENCE_MS = 60_000

interface Run {
  readonly child: ChildProcess
  readonly ready: Promise<void>
  readonly ended: Promise<void>
  restoreRefused: string | undefined
  isReady: boolean
}

/** Starts the server, and starts it again whenever it ends by itself. */
export function startDevelopmentServer(options: DevelopmentServerOptions): DevelopmentServer {
  const { folder, log } = options
  const [program, ...args] = options.command
  let run = launch()
  let stopping = false
  let crashes = 0
  let answer: ((line: string) => void) | undefined
  let busy: Promise<unknown> = Promise.resolve()

  function launch(): Run {
    const child = spawn(program, [...args, SOCKET_FILE, DATA_FILE, RESTORE_FILE], {
      cwd: folder,
      // Its errors go where ours go.
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    let isUp: () => void = () => undefined
    const ready = new Promise<void>((resolve) => (isUp = resolve))
    const ended = new Promise<void>((resolve) => {
      child.once('error', (error) => {
        log(`the server could not be started: ${error.message}`)
        resolve()
      })
      child.once('exit', (code, signal) => {
        if (!stopping) log(`the server ended with ${signal ?? code ?? 'nothing'}`)
        resolve()
      })
    })
    const started: Run = { child, ready, ended, restoreRefused: undefined, isReady: false }
    child.stdin.on('error', () => undefined) // it has ended, which is dealt with
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (line === 'ready') {
        started.isReady = true
        isUp()
      } else if (line.startsWith('refused ')) started.restoreRefused = line.slice('refused '.length)
      else if (line !== 'restored') answer?.(line)
    })
    void ended.then(() => {
      answer?.('failed the server ended')
      started.isReady = false
      if (run === started && !stopping) revive()
    })
    void ready.then(() => setTimeout(() => (crashes = 0), 60_000).unref())
    return started
  }

  function revive(): void {
    const wait = BACKOFF_MS[Math.min(crashes++, BACKOFF_MS.length - 1)]
    const ended = run
    setTimeout(() => {
      if (run === ended && !stopping) run = launch()
    }, wait)
  }

  async function end(): Promise<void> {
    const { child, ended } = run
    child.stdin?.end('stop\n')
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_PATIENCE_MS)
    await ended
    clearTimeout(timer)
  }

  /** One thing at a time. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const next = busy.then(work)
    busy = next.catch(() => undefined)
    return next
  }

  return {
    isReady: () => run.isReady,
    backup: (file) =>
      inTurn(async () => {
        if (!run.isReady) throw new Error('the server does not run')
        const line = await new Promise<string>((resolve) => {
          answer = resolve
          run.child.stdin?.write(`backup ${file}\n`)
        })
        answer = undefined
        if (line !== 'done') throw new Error(line.replace(/^failed /, ''))
      }),
    restart: () =>
      inTurn(async () => {
        stopping = true
        try {
          await end()
        } finally {
          stopping = false
        }
        const fresh = (run = launch())
        const timeout = new Promise<never>((_, reject) => {
          setTimeout(() => reject(new Error('the server did not start')), START_PATIENCE_MS).unref()
        })
        await Promise.race([fresh.ready, timeout, fresh.ended.then(() => Promise.reject(new Error('the server ended at once')))])
        if (fresh.restoreRefused !== undefined) throw new Error(`the backup was refused: ${fresh.restoreRefused}`)
      }),
    stop: async () => {
      stopping = true
      await end()
    },
  }
}
