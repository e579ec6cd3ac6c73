import type { FastifyRequest } from 'fastify'
import { CfError } from '@bloomery/contracts'
import { parseManifest, type AppManifest } from '@bloomery/domain'
import { parse } from 'yaml'
import { unprocessable } from '../../http/errors.js'
import { MetadataInput } from '../../http/metadata.js'

/** Whole numbers beyond what JavaScript counts exactly keep their digits as text. */
const toPlain = (_key: unknown, value: unknown): unknown => {
  if (typeof value !== 'bigint') return value
  return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString()
}

/** The YAML document of a request; 400 where it is none. */
export function readDocument(request: FastifyRequest): unknown {
  const type = request.headers['content-type'] ?? ''
  if (!/ya?ml/i.test(type) || typeof request.body !== 'string')
    throw new CfError('BadRequest', 'Bad request: Content-Type must be yaml')
  return parseYaml(request.body)
}

/** A manifest of the text that a job was given. */
export function parseYaml(text: string): unknown {
  try {
    return parse(text, toPlain, { intAsBigInt: true, merge: true, maxAliasCount: 100, prettyErrors: true }) as unknown
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error)
    throw new CfError('MessageParseError', `Request invalid due to parse error: the manifest is no valid YAML: ${reason}`, {
      cause: error,
    })
  }
}

/** The applications of a manifest; 422 with all that is wrong. */
export function readApps(document: unknown): readonly AppManifest[] {
  const { apps, faults } = parseManifest(document)
  const all = [...faults, ...apps.flatMap(metadataFaults)]
  if (all.length > 0) throw unprocessable(all)
  return apps
}

const metadataFaults = ({ name, metadata }: AppManifest): string[] => {
  const checked = MetadataInput.safeParse(metadata ?? {})
  return checked.success
    ? []
    : checked.error.issues.map((issue) => `For application '${name}': Metadata ${issue.path.join('.')} ${issue.message}`)
}
