import { readFile } from 'node:fs/promises'
import { parse } from 'yaml'
import { z } from 'zod'

/** What the scripts of a system buildpack may ask the platform for. */
const Dependency = z.object({
  name: z.string(),
  source: z.enum(['npm', 'stack-image']),
  /** One name, or one per architecture as Node calls it. */
  package: z.union([z.string(), z.record(z.string(), z.string())]).optional(),
  /** What of it goes into droplets; all of it where nothing is said. */
  droplet: z.array(z.string().regex(/^(?!\.\.)[\w.-]+(\/(?!\.\.)[\w.-]+)*$/)).optional(),
  aliases: z.record(z.string(), z.string()).default({}),
})
export type Dependency = z.infer<typeof Dependency>
const Manifest = z.object({ dependencies: z.array(Dependency).default([]) })

export async function readDependencies(path: string): Promise<readonly Dependency[]> {
  return Manifest.parse(parse(await readFile(path, 'utf8'))).dependencies
}
