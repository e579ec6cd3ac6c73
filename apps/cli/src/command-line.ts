import { closest } from './closest.js'

/** What a flag takes: nothing, a text, a text each time it is given, or a whole number. */
export interface Flag {
  readonly kind: 'switch' | 'text' | 'texts' | 'count'
  readonly short?: string
  readonly long?: string
  /** Stands for the value in the help. */
  readonly value?: string
  readonly summary: string
}
export type Flags = Readonly<Record<string, Flag>>

type ValueOf<K extends Flag['kind']> = K extends 'switch'
  ? boolean
  : K extends 'count'
    ? number
    : K extends 'texts'
      ? readonly string[]
      : string
/** Only flags that were given are there. */
export type FlagValues<F extends Flags> = { readonly [N in keyof F]?: ValueOf<F[N]['kind']> }
/** `APP_NAME` must be given, `[APP_NAME]` may. */
export type OperandValues<O extends readonly string[]> = {
  readonly [I in keyof O]: O[I] extends `[${string}` ? string | undefined : string
}

/** The words do not make a command; the message says which. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

export interface CommandLine {
  readonly operands: readonly string[]
  readonly flags: Readonly<Record<string, boolean | number | string | readonly string[]>>
  readonly wantsHelp: boolean
}

/** Takes the words behind a verb apart: `--long value`, `--long=value`, `-s value`, `-svalue`, `-s=value`, `-fr`, and `--` before what is no flag. */
export function parseCommandLine(words: readonly string[], known: Flags, operandNames: readonly string[]): CommandLine {
  const operands: string[] = []
  const flags: Record<string, boolean | number | string | string[]> = {}
  const rest = [...words]
  let wantsHelp = false
  let onlyOperands = false
  const note = (name: string, flag: Flag, shown: string, attached: string | undefined): void => {
    const text = attached ?? rest.shift()
    if (text === undefined) throw new UsageError(`flag ${shown} needs a value`)
    if (flag.kind === 'count') flags[name] = wholeNumber(shown, text)
    else if (flag.kind === 'texts') flags[name] = [...((flags[name] as string[] | undefined) ?? []), text]
    else flags[name] = text
  }
  const long = (word: string): void => {
    const at = word.indexOf('=')
    const shown = at < 0 ? word : word.slice(0, at)
    if (shown === '--help') return void (wantsHelp = true)
    const [name, flag] = find(known, shown)
    if (flag.kind !== 'switch') return note(name, flag, shown, at < 0 ? undefined : word.slice(at + 1))
    if (at >= 0) throw new UsageError(`flag ${shown} takes no value`)
    flags[name] = true
  }
  const shorts = (word: string): void => {
    for (let i = 1; i < word.length; i++) {
      const shown = `-${word.charAt(i)}`
      if (shown === '-h') wantsHelp = true
      else {
        const [name, flag] = find(known, shown)
        if (flag.kind === 'switch') flags[name] = true
        else return note(name, flag, shown, i + 1 < word.length ? word.slice(i + 1).replace(/^=/, '') : undefined)
      }
    }
  }
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (onlyOperands || word === '-' || !word.startsWith('-')) operands.push(word)
    else if (word === '--') onlyOperands = true
    else if (word.startsWith('--')) long(word)
    else shorts(word)
  }
  if (!wantsHelp) countOperands(operands, operandNames)
  return { operands, flags, wantsHelp }
}

function find(known: Flags, shown: string): readonly [string, Flag] {
  const found = Object.entries(known).find(([, flag]) => shown === `--${flag.long}` || shown === `-${flag.short}`)
  if (found) return found
  const names = Object.values(known).flatMap((flag) => (flag.long === undefined ? [] : [`--${flag.long}`]))
  const near = shown.startsWith('--') ? closest(shown, names) : undefined
  throw new UsageError(`unknown flag ${shown}${near === undefined ? '' : `; did you mean ${near}?`}`)
}

function wholeNumber(shown: string, text: string): number {
  const value = Number(text)
  if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value
  throw new UsageError(`flag ${shown} takes a whole number, not '${text}'`)
}

function countOperands(operands: readonly string[], names: readonly string[]): void {
  const missing = names.slice(operands.length).filter((name) => !name.startsWith('['))
  if (missing.length > 0) {
    const plural = missing.length > 1 ? 's' : ''
    throw new UsageError(`the required argument${plural} ${missing.join(' and ')} ${plural ? 'were' : 'was'} not given`)
  }
  if (operands.length > names.length) throw new UsageError(`unexpected argument '${operands[names.length] ?? ''}'`)
}
