import { readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '@bloomery/telemetry'
import { z } from 'zod'
import { readUntrusted } from '../staging/untrusted-file.js'
import { readDependencies } from './manifest.js'
import type { RuntimeStore } from './runtime-store.js'

const POLL_MS = 20
const MAX_REQUESTS = 100
const Request = z.object({
  buildpack: z.string().regex(/^[a-z0-9_-]{1,40}$/),
  dependency: z.string(),
  range: z.string().max(500),
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

async function find(
  { store, manifestPath, log }: BrokerParts,
  path: string,
): Promise<{ path: string; droplet: string; version: string } | { error: string }> {
  try {
    const wanted = Request.parse(JSON.parse((await readUntrusted(path, 4096)) ?? ''))
    const dependency = (await readDependencies(manifestPath(wanted.buildpack))).find(({ name }) => name === wanted.dependency)
    if (dependency?.source !== 'npm') return { error: `the buildpack ${wanted.buildpack} offers no ${wanted.dependency}` }
    const { folder, dropletFolder, version } = await store.obtain(dependency, wanted.range)
    return { path: `${RUNTIMES_MOUNT}/${folder}`, droplet: `${RUNTIMES_MOUNT}/${dropletFolder}`, version }
  } catch (error) {
    log.warn({ err: error }, 'a runtime could not be provided')
    return { error: error instanceof Error ? error.message : String(error) }
  }
}
