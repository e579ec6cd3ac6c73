import { Ajv, type ValidateFunction } from 'ajv'
import AjvDraft04Module from 'ajv-draft-04'

const MAX_SCHEMA_BYTES = 64 * 1024
const OPTIONS = { strict: false, logger: false, validateFormats: false, allErrors: true } as const
/** The drafts that a plan's schemas may be of; the specification asks for 04 at least. */
const DRAFTS = /^https?:\/\/json-schema\.org\/draft-(04|06|07)\/schema#?$/

const AjvDraft04 = AjvDraft04Module.default
const DRAFT_07 = 'http://json-schema.org/draft-07/schema#'

/** A compiler for the draft, and the schema as it takes it: 06 is a part of 07. */
function prepare(draft: string, schema: Record<string, unknown>): { ajv: Ajv; schema: Record<string, unknown> } {
  return draft === '04'
    ? { ajv: new AjvDraft04(OPTIONS), schema }
    : { ajv: new Ajv(OPTIONS), schema: { ...schema, $schema: DRAFT_07 } }
}

/** Faults of a JSON schema that a plan gives for parameters; none for a usable one. */
export function schemaProblems(schema: Record<string, unknown>): string[] {
  if (JSON.stringify(schema).length > MAX_SCHEMA_BYTES) return [`must not be larger than ${MAX_SCHEMA_BYTES / 1024}KB`]
  const declared = schema['$schema']
  if (typeof declared !== 'string') return ['must have a "$schema" of draft-04 or later']
  const draft = DRAFTS.exec(declared)?.[1]
  if (draft === undefined) return [`has the unknown "$schema" ${JSON.stringify(declared)}`]
  const outside = externalReferences(schema)
  if (outside.length > 0) return [`must not refer to other documents: ${outside.join(', ')}`]
  const { ajv, schema: prepared } = prepare(draft, schema)
  if (ajv.validateSchema(prepared) !== true)
    return (ajv.errors ?? [])
      .slice(0, 5)
      .map(({ instancePath, message }) => `is no valid schema: ${instancePath || '/'} ${message ?? ''}`)
  try {
    ajv.compile(prepared)
    return []
  } catch (error) {
    return [`is no valid schema: ${error instanceof Error ? error.message : String(error)}`]
  }
}

/** Faults of a user's parameters against a plan's schema; a schema that cannot be used finds none, for the broker's word is final. */
export function parameterProblems(schema: Record<string, unknown>, parameters: Record<string, unknown>): string[] {
  if (schemaProblems(schema).length > 0) return []
  const draft = DRAFTS.exec(String(schema['$schema']))?.[1] ?? '07'
  const { ajv, schema: prepared } = prepare(draft, schema)
  const check: ValidateFunction = ajv.compile(prepared)
  if (check(parameters)) return []
  return (check.errors ?? []).map(({ instancePath, message }) => `${instancePath || 'parameters'} ${message ?? 'is invalid'}`)
}

function externalReferences(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(externalReferences)
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) =>
    key === '$ref' && typeof inner === 'string' && !inner.startsWith('#') ? [inner] : externalReferences(inner),
  )
}
