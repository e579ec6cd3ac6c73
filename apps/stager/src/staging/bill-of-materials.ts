import { join } from 'node:path'
import { z } from 'zod'
import type { DropletComponent } from '../builds/build-record.js'
import { readUntrusted } from './untrusted-file.js'

const MAX_BYTES = 32 * 1024 * 1024
const MAX_COMPONENTS = 50_000
const text = z.string().max(1000)
const Bill = z.object({
  components: z
    .array(
      z.object({
        purl: text.regex(/^pkg:[a-z0-9.+-]+\/.+/),
        name: text.min(1),
        version: text,
        kind: z.enum(['library', 'application']).default('library'),
        source: text.default(''),
        checksum: text.nullish(),
      }),
    )
    .max(MAX_COMPONENTS),
  lock_files: z.array(z.object({ path: text, checksum: text })).max(1000),
})

/**
 * What the builder has found of packages and lock files. Like all that comes out of the container it is what the app says of itself; a bill that
 * cannot be read is an empty one, for it keeps no app from being staged.
 */
export async function readBill(stage: string): Promise<{
  readonly components: readonly DropletComponent[]
  readonly lockFiles: readonly { readonly path: string; readonly checksum: string }[]
}> {
  const content = await readUntrusted(join(stage, 'bill.json'), MAX_BYTES)
  const parsed = Bill.safeParse(content === undefined ? undefined : parseJson(content))
  if (!parsed.success) return { components: [], lockFiles: [] }
  const byPurl = new Map(parsed.data.components.map((each) => [each.purl, { ...each, checksum: each.checksum ?? null }]))
  return {
    components: [...byPurl.values()].sort((a, b) => (a.purl < b.purl ? -1 : 1)),
    lockFiles: parsed.data.lock_files,
  }
}

function parseJson(content: string): unknown {
  try {
    return JSON.parse(content)
  } catch {
    return undefined
  }
}
