import { readFileSync } from 'node:fs'
import { z } from 'zod'

/** Configuration that cannot be used; the message names each variable, what is wrong and what to set. Values are never shown. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/** Parses the environment once, at the top of a role's main. `NAME_FILE` stands in for any `NAME` (mounted secrets). */
export function parseEnvironment<T>(schema: z.ZodType<T>, env: NodeJS.ProcessEnv): T {
  const values: Record<string, string | undefined> = { ...env }
  for (const [name, path] of Object.entries(env)) {
    if (!name.endsWith('_FILE') || !path) continue
    const target = name.slice(0, -'_FILE'.length)
    if (values[target] !== undefined) continue
    try {
      values[target] = readFileSync(path, 'utf8').trim()
    } catch {
      // Many variables of other programs end in _FILE; the schema complains if it needed this one.
    }
  }
  for (const name of Object.keys(values)) if (values[name] === '') delete values[name]
  const result = schema.safeParse(values)
  if (!result.success) throw new ConfigError(`Invalid configuration:\n${z.prettifyError(result.error)}`)
  return result.data
}

/** "host:port" of a listener. */
export const ListenAddress = z
  .string()
  .regex(/^(.+):(\d+)$/, 'must be host:port')
  .transform((text) => {
    const at = text.lastIndexOf(':')
    return { host: text.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(text.slice(at + 1)) }
  })
export type ListenAddress = z.output<typeof ListenAddress>
export const Flag = z.enum(['true', 'false']).transform((value) => value === 'true')
