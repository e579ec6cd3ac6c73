import { readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '@bloomery/telemetry'
import { z } from 'zod'
import { readUntrusted } from '../staging/untrusted-file.js'
import { publishedVersions } from './choose-version.js'
import { readDependencies } from './manifest.js'
import type { Offer } from './runtime-sources.js'
import type { RuntimeStore } from './runtime-store.js'

const POLL_MS = 20
const MAX_REQUESTS = 100
const MAX_REQUEST_BYTES = 32 * 1024
const Request = z.object({
  buildpack: z.string().regex(/^[a-z0-9_-]{1,40}$/),
  dependency: z.string(),
  range: z.string().max(500),
  /** Versions that the buildpack found in the stack, or carries itself. */
  offered: z
    .array(z.object({ version: z.string().max(100), from: z.enum(['stack-image', 'carried']) }))
    .max(200)
    .default([]),
})

/** Where the store of runtimes is mounted in a staging container. */
export const RUNTIMES_MOUNT = '/tmp/runtimes'

export interface BrokerParts {
  /** Folder with requests/ and answers/. */
  readonly stage: string
  readonly store: RuntimeStore
  readonly manifestPath: (buildpack: string) => string
  readonly log: Logger
}

/**
 * Answers what buildpacks ask for while a container runs. Buildpacks cannot write to the store, which all apps share; they name a dependency of a
 * system buildpack's manifest and a range, and get a folder to read.
 */
export async function answerRequests(parts: BrokerParts, signal: AbortSignal): Promise<void> {
  const requests = join(parts.stage, 'requests')
  const seen = new Set<string>()
  while (!signal.aborted) {
    for (const name of await readdir(requests)) {
      if (!/^[\w-]{1,80}\.json$/.test(name) || seen.has(name) || seen.size >= MAX_REQUESTS) continue
      seen.add(name)
      void answer(parts, requests, name)
    }
    await delay(POLL_MS, undefined, { signal }).catch(() => undefined)
  }
}

async function answer(parts: BrokerParts, requests: string, name: string): Promise<void> {
  const reply = await find(parts, join(requests, name))
  const path = join(parts.stage, 'answers', name)
  try {
    await writeFile(`${path}.new`, JSON.stringify(reply))
    await rename(`${path}.new`, path)
  } catch (error) {
    // The staging has ended meanwhile, and its folder is gone.
    await rm(`${path}.new`, { force: true })
    parts.log.debug({ err: error }, 'nobody waits for the runtime any more')
  }
}

async function find({ store, manifestPath, log }: BrokerParts, path: string): Promise<Record<string, unknown>> {
  try {
    const wanted = Request.parse(JSON.parse((await readUntrusted(path, MAX_REQUEST_BYTES)) ?? ''))
    const dependency = (await readDependencies(manifestPath(wanted.buildpack))).find(({ name }) => name === wanted.dependency)
    if (!dependency) return { error: `the buildpack ${wanted.buildpack} offers no ${wanted.dependency}` }
    const found = await store.obtain(dependency, wanted.range, publishedOffers(wanted.offered))
    if ('from' in found) return { version: found.version, from: found.from }
    const { folder, dropletFolder, version, origin } = found
    return {
      path: `${RUNTIMES_MOUNT}/${folder}`,
      droplet: `${RUNTIMES_MOUNT}/${dropletFolder}`,
      version,
      from: origin.source,
      checksum: origin.checksum,
      name: origin.name,
    }
  } catch (error) {
    log.warn({ err: error }, 'a runtime could not be provided')
    return { error: error instanceof Error ? error.message : String(error) }
  }
}

/** What is no version cannot be chosen. */
const publishedOffers = (offered: readonly Offer[]): Offer[] =>
  offered.flatMap(({ version, from }) => publishedVersions([version]).map((each) => ({ version: each.version, from })))
