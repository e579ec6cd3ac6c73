import type { Readable } from 'node:stream'
import { ApiError, ClientError } from '@bloomery/client'
import { CommanderError } from 'commander'
import { Context } from './context.js'
import { buildProgram } from './program.js'
import { type Stream, Terminal } from './terminal.js'

export interface BloomOptions {
  /** Without program and script. */
  readonly argv: readonly string[]
  readonly env: NodeJS.ProcessEnv
  readonly cwd: string
  readonly stdin: Readable & { readonly isTTY?: boolean }
  readonly stdout: Stream
  readonly stderr: Stream
  /** Ends what follows without end. */
  readonly signal?: AbortSignal
}

/** Runs one command; resolves with its exit code: 0, 1 for a failure, 22 for `curl -f`. */
export async function runBloom({ argv, env, cwd, stdin, stdout, stderr, signal }: BloomOptions): Promise<number> {
  const terminal = new Terminal(stdin, stdout, stderr, env)
  let exitCode = 0
  const program = buildProgram({
    open: () => Context.open(terminal, cwd, env),
    signal: signal ?? new AbortController().signal,
    setExitCode: (code) => {
      exitCode = code
    },
  })
  for (const command of [program, ...program.commands]) {
    command.exitOverride().configureOutput({ writeOut: (text) => terminal.raw(text), writeErr: (text) => stderr.write(text) })
  }
  try {
    await program.parseAsync([...argv], { from: 'user' })
    return exitCode
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode
    if (!(error instanceof ApiError || error instanceof ClientError)) throw error
    stderr.write(`${explain(error)}\n`)
    terminal.line(terminal.style('red', 'FAILED'))
    return 1
  }
}

function explain(error: ApiError | ClientError): string {
  if (error instanceof ClientError) return error.message
  if (error.status === 401) return `${error.message}\nLog in again with: bloom login`
  if (error.errors.length > 1) return error.errors.map(({ detail }) => `- ${detail}`).join('\n')
  return error.message
}
