import { z } from 'zod'
import type { StagedDroplet } from '../builds/build-record.js'
import { readUntrusted } from './untrusted-file.js'

const MAX_RESULT_BYTES = 4 * 1024 * 1024
const text = z.string().max(100_000)

/** A folder of the droplet that becomes a layer of its own: a runtime of the store, one of the last droplet's, or one that this staging has made. */
const DropletLayer = z.object({
  kind: z.enum(['runtimes', 'layers', 'made']),
  source: z.string().regex(/^(?!\.)[\w.-]{1,200}$/),
  name: z.string().regex(/^\.\/(deps\/\d{1,3}|app)\/(?!\.\.?$)[\w.-]{1,100}$/),
  key: z.string().max(200).optional(),
})
export type DropletLayer = z.infer<typeof DropletLayer>

/** What the builder writes. It ran among the app's own programs, so nothing in it is taken on trust. */
const StagingResult = z.object({
  process_types: z.record(z.string().max(255), text),
  lifecycle_metadata: z.object({
    buildpacks: z.array(
      z.object({
        key: text,
        name: text.default(''),
        version: text.optional(),
        output_metadata: text.optional(),
        /** Where it came from git. */
        commit: z
          .string()
          .regex(/^[0-9a-f]{40,64}$/)
          .optional(),
        /** Where it came as a zip file from an address. */
        sha256: z
          .string()
          .regex(/^[0-9a-f]{64}$/)
          .optional(),
      }),
    ),
  }),
  droplet: z.object({ layers: z.array(DropletLayer).max(20) }).optional(),
})
export type StagingResult = z.infer<typeof StagingResult>

export async function readStagingResult(path: string): Promise<StagingResult | undefined> {
  const content = await readUntrusted(path, MAX_RESULT_BYTES)
  if (content === undefined) return undefined
  try {
    return StagingResult.parse(JSON.parse(content))
  } catch {
    return undefined // the caller says that the builder left no valid result
  }
}

/** As the API shows them. `names`: from a key of the plan to the platform's name of that buildpack. */
export function presentBuildpacks(result: StagingResult, names: ReadonlyMap<string, string>): StagedDroplet['buildpacks'] {
  return result.lifecycle_metadata.buildpacks.map(({ key, name, version, output_metadata: output }) => ({
    name: names.get(key) ?? withoutUserinfo(key),
    detect_output: output === undefined || output === '' ? null : output,
    version: version ?? null,
    buildpack_name: name === '' ? null : name,
  }))
}

/** What tells a buildpack's files from others. `source`: folder of those that the platform keeps, which is named by content. */
export function checksumOf(
  used: { commit?: string | undefined; sha256?: string | undefined },
  source: string | undefined,
): string | null {
  if (source !== undefined) return `sha256:${source.slice(source.lastIndexOf('-') + 1)}`
  if (used.commit !== undefined) return `git:${used.commit}`
  return used.sha256 === undefined ? null : `sha256:${used.sha256}`
}

/** Addresses may carry credentials; they are never shown again. */
export function withoutUserinfo(address: string): string {
  return address.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/@]*@/i, '$1***:***@')
}
