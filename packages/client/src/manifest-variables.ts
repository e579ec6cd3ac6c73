import { readFile } from 'node:fs/promises'
import { parseDocument } from 'yaml'
import { ClientError } from './errors.js'
import { keepLargeIntegers } from './large-integers.js'

/** Values for ((name)); a value may be of any type. */
export type Variables = Readonly<Record<string, unknown>>

const PLACEHOLDER = /\(\((!?[-/.\w\p{L}]+)\)\)/gu
const WHOLE = /^\(\((!?[-/.\w\p{L}]+)\)\)$/u

/** Values from files, later ones over earlier ones, and from `name=value` texts over both; a text's value is read as YAML. */
export async function readVariables(files: readonly string[], texts: readonly string[]): Promise<Variables> {
  const all: Record<string, unknown> = {}
  for (const file of files) {
    const text = await readFile(file, 'utf8').catch((error: unknown) => {
      throw new ClientError('bad-argument', `The variables file ${file} cannot be read.`, { cause: error })
    })
    const values = parseYaml(text, `the variables file ${file}`)
    if (typeof values !== 'object' || values === null || Array.isArray(values))
      throw new ClientError('bad-argument', `The variables file ${file} must be a map of names and values.`)
    Object.assign(all, values)
  }
  for (const text of texts) {
    const at = text.indexOf('=')
    if (at < 1) throw new ClientError('bad-argument', `--var takes name=value, not '${text}'.`)
    all[text.slice(0, at)] = parseYaml(text.slice(at + 1), `the value of --var ${text.slice(0, at)}`)
  }
  return all
}

function parseYaml(text: string, what: string): unknown {
  try {
    const document = parseDocument(text, { merge: true })
    const [fault] = document.errors
    if (fault) throw fault
    keepLargeIntegers(document)
    return document.toJS({ maxAliasCount: 100 }) as unknown
  } catch (error) {
    throw new ClientError('bad-argument', `YAML error in ${what}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    })
  }
}

/** Fills in placeholders everywhere, keys too. One that is the whole text keeps its value's type. Missing ones are reported together. */
export function interpolate(value: unknown, variables: Variables): unknown {
  const missing = new Set<string>()
  const find = (name: string): unknown => {
    const plain = name.replace(/^!/, '')
    if (Object.hasOwn(variables, plain)) return variables[plain]
    // `((database.port))` reaches into a value.
    const [head = '', ...path] = plain.split('.')
    let found: unknown = Object.hasOwn(variables, head) && path.length > 0 ? variables[head] : undefined
    for (const key of path) {
      found =
        typeof found === 'object' && found !== null && Object.hasOwn(found, key)
          ? (found as Record<string, unknown>)[key]
          : undefined
    }
    if (found === undefined) missing.add(plain)
    return found
  }
  const walk = (node: unknown): unknown => {
    if (typeof node === 'string') {
      const whole = WHOLE.exec(node)?.[1]
      return whole === undefined ? node.replace(PLACEHOLDER, (_match, name: string) => textOf(name, find(name))) : find(whole)
    }
    if (Array.isArray(node)) return node.map(walk)
    if (typeof node !== 'object' || node === null) return node
    return Object.fromEntries(Object.entries(node).map(([key, child]) => [String(walk(key)), walk(child)]))
  }
  const filled = walk(value)
  if (missing.size > 0)
    throw new ClientError(
      'bad-manifest',
      `Expected to find variables: ${[...missing].sort().join(', ')}. Give them with --var or --vars-file.`,
    )
  return filled
}

function textOf(name: string, value: unknown): string {
  if (value === undefined || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean')
    return String(value)
  throw new ClientError('bad-manifest', `((${name})) stands inside a text, so its value must be a text, number or boolean.`)
}
