import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import * as z from 'zod/mini'
import { ClientError } from './errors.js'
import { parseJson } from './session.js'
import { Endpoints, Tokens } from './session.js'

const Named = z.object({ guid: z.string(), name: z.string() })

/** What a command-line client remembers between commands. */
export const StoredConfig = z.object({
  endpoints: z.optional(Endpoints),
  skipSslValidation: z._default(z.boolean(), false),
  tokens: z.optional(Tokens),
  organization: z.optional(Named),
  space: z.optional(Named),
})
export type StoredConfig = z.infer<typeof StoredConfig>

/** `<home>/.bloom/config.json`; the home is BLOOM_HOME's value where it is given, else the user's. */
export const configPath = (home: string | undefined): string => join(home || homedir(), '.bloom', 'config.json')

export async function readConfig(path: string): Promise<StoredConfig> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if (typeof error === 'object' && error !== null && 'code' in error && error.code === 'ENOENT') return '{}'
    throw error
  })
  const config = StoredConfig.safeParse(parseJson(text))
  if (config.success) return config.data
  throw new ClientError('bad-argument', `${path} is damaged. Delete it and log in again.`)
}

/** Replaces the file in one step; only its owner may read it. */
export async function writeConfig(path: string, config: StoredConfig): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const fresh = `${path}.${process.pid}`
  await writeFile(fresh, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 })
  await chmod(fresh, 0o600)
  await rename(fresh, path)
}
