import { z } from 'zod'
import { CfError } from '@bloomery/contracts'

/** Parses a JSON body; every fault is told as one error of CF's form ("Name can't be blank" style: path and message). */
export function parseBody<T>(schema: z.ZodType<T>, body: unknown): T {
  const result = schema.safeParse(body ?? {})
  if (result.success) return result.data
  throw new CfError('UnprocessableEntity', result.error.issues.map(describeIssue))
}

/** A field's name is told in words, as the reference does; the way to one further inside stays as it is written. */
function describeIssue(issue: z.core.$ZodIssue): string {
  if (issue.code === 'unrecognized_keys') {
    const at = issue.path.length > 0 ? ` in ${issue.path.join('.')}` : ''
    return `Unknown field(s): ${issue.keys.map((key) => `'${key}'`).join(', ')}${at}`
  }
  return sentence(placeOf(issue.path), wordsOf(issue), issue.path)
}

/** `Name`, `Route service url`, `Relationships.space`, `Destinations[0]: port`. */
function placeOf([first, second, ...rest]: readonly PropertyKey[]): string {
  if (first === undefined) return ''
  const head = capital(String(first))
  if (typeof second === 'number') return `${head}[${second}]: ${rest.join('.')}`.trimEnd()
  return second === undefined ? head.replaceAll('_', ' ') : [head, second, ...rest].map(String).join('.')
}

/** Words that name the field themselves ("port must be…") do not need it twice. */
function sentence(place: string, said: string, path: readonly PropertyKey[]): string {
  const named = path.find((step) => typeof step === 'string' && namesField(said, step))
  if (named === undefined) return place ? `${place} ${said}` : said
  const [, list = ''] = /^(.*\[\d+\]: )/.exec(place) ?? []
  return list + (list === '' ? capital(said) : said)
}

const namesField = (said: string, field: string): boolean => {
  const [first, second] = said.split(' ')
  return first === field || (second === field && /^[A-Z]/.test(said))
}
const capital = (text: string): string => `${text[0]?.toUpperCase() ?? ''}${text.slice(1)}`

/** The schema's own words for a wrong type are no sentence. */
function wordsOf(issue: z.core.$ZodIssue): string {
  if (issue.code !== 'invalid_type' || !issue.message.startsWith('Invalid input')) return issue.message
  if (issue.message.endsWith('received undefined')) return issue.path.length > 0 ? 'must be given' : 'The request has no body'
  const kind: string = issue.expected === 'record' ? 'object' : issue.expected
  return `${issue.path.length > 0 ? 'must be' : 'The body must be'} ${/^[aeio]/.test(kind) ? 'an' : 'a'} ${kind}`
}

// Inputs are as lax as the reference's: numbers may come as strings of digits.
export const Integer = z.preprocess(
  (value) => (typeof value === 'string' && /^-?\d+$/.test(value) ? Number(value) : value),
  z.number('must be an integer').int('must be an integer'),
)
export const ToOne = z.object({ data: z.object({ guid: z.string() }) })
export const ToOneNullable = z.object({ data: z.object({ guid: z.string() }).nullable() })
export const ToMany = z.object({ data: z.array(z.object({ guid: z.string() })) })
export const ResourceName = z
  .string('must be a string')
  .min(1, "can't be blank")
  .max(250, 'is too long (maximum is 250 characters)')
