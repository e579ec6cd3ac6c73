import { readFileSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { parseCommandLine, UsageError } from './command-line.js'
import { closest } from './closest.js'
import { generalHelp, verbHelp } from './help.js'
import { Interrupted } from './interrupted.js'
import { type Stream, Terminal } from './terminal.js'
import type { Verb } from './verb.js'
import { findVerb, verbNames } from './verbs.js'

export interface BloomOptions {
  /** Without program and script. */
  readonly argv: readonly string[]
  readonly env: NodeJS.ProcessEnv
  readonly cwd: string
  readonly stdin: Readable & { readonly isTTY?: boolean }
  readonly stdout: Stream
  readonly stderr: Stream
  /** Ctrl-C: ends what follows without end, and gives the rest up. */
  readonly signal?: AbortSignal
}

const INTERRUPTED = 130

/** Runs one command; resolves with its exit code: 0, 1 for a failure, 22 for `curl -f`, 130 when it was interrupted. */
export async function runBloom(options: BloomOptions): Promise<number> {
  const { argv, env, stdin, stdout, stderr, signal = new AbortController().signal } = options
  const terminal = new Terminal(stdin, stdout, stderr, env)
  const [word, ...words] = argv
  if (word === undefined || ['help', 'h', '--help', '-h'].includes(word)) return help(terminal, words[0])
  if (['version', '--version', '-v'].includes(word)) {
    terminal.line(`bloom version ${version()}`)
    return 0
  }
  const verb = findVerb(word)
  if (!verb) return unknownVerb(terminal, word)
  try {
    const { operands, flags, wantsHelp } = parseCommandLine(words, verb.flags, verb.operands)
    if (wantsHelp) return help(terminal, verb.name)
    return await perform(verb, terminal, options, signal, (context) => verb.run(context, operands, flags))
  } catch (error) {
    terminal.endProgress()
    if (error instanceof Interrupted) return INTERRUPTED
    if (error instanceof UsageError) return wrongUsage(terminal, verb, error)
    const { explain } = await import('./explain.js')
    terminal.warn(explain(error, env))
    terminal.failed()
    return 1
  }
}

async function perform(
  verb: Verb,
  terminal: Terminal,
  { env, cwd }: BloomOptions,
  signal: AbortSignal,
  run: (context: Awaited<ReturnType<typeof openContext>>) => Promise<number | void>,
): Promise<number> {
  const context = await openContext(terminal, cwd, env, signal)
  try {
    const ended = run(context)
    if (verb.endless) return (await ended) ?? 0
    return (await Promise.race([ended, interruption(signal)])) ?? 0
  } finally {
    await context.close()
  }
}

async function openContext(terminal: Terminal, cwd: string, env: NodeJS.ProcessEnv, signal: AbortSignal) {
  const { Context } = await import('./context.js')
  return Context.open(terminal, { cwd, env, signal })
}

const interruption = (signal: AbortSignal): Promise<never> =>
  new Promise((_resolve, reject) => {
    if (signal.aborted) reject(new Interrupted())
    signal.addEventListener('abort', () => reject(new Interrupted()), { once: true })
  })

function help(terminal: Terminal, name: string | undefined): number {
  if (name === undefined || name === '-a') {
    terminal.raw(generalHelp())
    return 0
  }
  const verb = findVerb(name)
  if (!verb) return unknownVerb(terminal, name)
  terminal.raw(verbHelp(verb))
  return 0
}

function unknownVerb(terminal: Terminal, word: string): number {
  const near = closest(word, verbNames())
  terminal.warn(`'${word}' is no verb of bloom. See 'bloom help'.`)
  if (near !== undefined) terminal.warn(`\nDid you mean?\n    ${near}`)
  return 1
}

function wrongUsage(terminal: Terminal, verb: Verb, error: UsageError): number {
  terminal.warn(`Incorrect Usage: ${error.message}\n`)
  terminal.failed()
  terminal.raw(`\n${verbHelp(verb)}`)
  return 1
}

function version(): string {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
  return version
}
