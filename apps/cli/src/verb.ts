import type { Context } from './context.js'
import type { Flags, FlagValues, OperandValues } from './command-line.js'

/** One of bloom's verbs as data: what it is called, what it takes, what it does. */
export interface Verb {
  readonly name: string
  readonly alias?: string
  readonly group: VerbGroup
  readonly summary: string
  readonly operands: readonly string[]
  readonly flags: Flags
  /** Command lines worth imitating. */
  readonly examples: readonly string[]
  /** Follows something until Ctrl-C, which is no failure then. */
  readonly endless: boolean
  /** Resolves with the exit code, 0 where it gives none. Its code is loaded when it is called. */
  run(context: Context, operands: readonly string[], flags: FlagValues<Flags>): Promise<number | void>
}
export type VerbGroup =
  'Getting started' | 'Apps' | 'Environment' | 'Routes' | 'Spaces' | 'Services' | 'Service administration' | 'Advanced'

interface VerbDefinition<O extends readonly string[], F extends Flags> {
  readonly name: string
  readonly alias?: string
  readonly group: VerbGroup
  readonly summary: string
  readonly operands?: O
  readonly flags?: F
  readonly examples?: readonly string[]
  readonly endless?: boolean
  readonly run: (context: Context, operands: OperandValues<O>, flags: FlagValues<F>) => Promise<number | void>
}

/** Checks that `run` fits the operands and flags declared beside it; the parser guarantees that they are given so. */
export function verb<const O extends readonly string[] = readonly [], const F extends Flags = Flags>(
  definition: VerbDefinition<O, F>,
): Verb {
  const { operands, flags, examples, endless, run, ...rest } = definition
  return {
    ...rest,
    operands: operands ?? [],
    flags: flags ?? {},
    examples: examples ?? [],
    endless: endless ?? false,
    run: (context, given, values) => run(context, given as OperandValues<O>, values as FlagValues<F>),
  }
}
