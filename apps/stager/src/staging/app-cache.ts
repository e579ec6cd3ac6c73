import { createHash } from 'node:crypto'
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { createGzip } from 'node:zlib'
import { extractTar, packTar } from '@bloomery/archives'
import { type Blobstore, BlobError } from '@bloomery/blobstore'
import type { Leftover } from '../leftovers/leftover.js'
import { folderBytes, makeWritableFolder } from './workspace.js'

const LIMITS = { maxEntries: 1_000_000, maxBytes: 16 * 1024 ** 3, maxRatio: 1000 }
const VCAP = { uid: 2000, gid: 2000 }

/**
 * Each app's build artifacts, one folder per app and stack on this machine's disk. Where the blob store is shared by several machines a copy
 * lies there too, for the stager that takes the next build.
 */
export class AppCaches {
  constructor(
    private readonly folder: string,
    private readonly blobstore: Blobstore,
  ) {}

  /** The folder for a build; made, or brought from the blob store. `clearedAt`: what is older is not used any more. */
  async open(appGuid: string, stack: string, clearedAt: Date | undefined): Promise<string> {
    const path = this.#path(appGuid, stack)
    const made = await stat(path).then(
      ({ birthtime }) => birthtime,
      () => undefined,
    )
    if (made && clearedAt && made < clearedAt) {
      await rm(path, { recursive: true, force: true })
      await rm(this.layersFile(appGuid, stack), { force: true })
    } else if (made) return path
    await mkdir(join(this.folder, appGuid), { recursive: true })
    if (!clearedAt && this.#isShared) await this.#fetch(appGuid, stack, path)
    await makeWritableFolder(path)
    return path
  }

  /** Where it is noted which layers the app's last droplet has. */
  layersFile(appGuid: string, stack: string): string {
    return `${this.#path(appGuid, stack)}.layers.json`
  }

  /** Drops a cache that has outgrown what one build may write: the next one would have no room beside it. */
  async bound(appGuid: string, stack: string, diskMb: number): Promise<void> {
    const path = this.#path(appGuid, stack)
    if ((await folderBytes(path)) <= diskMb * 1024 ** 2) return
    await rm(path, { recursive: true, force: true })
    await rm(this.layersFile(appGuid, stack), { force: true })
  }

  /** Leaves a copy for other machines, where there may be any. */
  async share(appGuid: string, stack: string): Promise<void> {
    if (!this.#isShared) return
    const body = packTar(this.#path(appGuid, stack)).pipe(createGzip({ level: 1 }))
    await this.blobstore.put(cacheKey(appGuid, stack), body)
  }

  /** The folders of apps that are no more. `exists` answers for many at once. */
  async leftovers(exists: (appGuids: readonly string[]) => Promise<ReadonlySet<string>>): Promise<readonly Leftover[]> {
    const present = await readdir(this.folder).catch((): string[] => [])
    const alive = await exists(present)
    return present
      .filter((appGuid) => !alive.has(appGuid))
      .map((appGuid) => ({
        path: `caches/${appGuid}`,
        kind: 'cache',
        reason: 'build cache of an app that is deleted',
        folder: join(this.folder, appGuid),
        remove: () => rm(join(this.folder, appGuid), { recursive: true, force: true }),
      }))
  }

  get #isShared(): boolean {
    return this.blobstore.localPath('caches/any') === undefined
  }

  #path(appGuid: string, stack: string): string {
    return join(this.folder, appGuid, createHash('sha256').update(stack).digest('hex').slice(0, 16))
  }

  async #fetch(appGuid: string, stack: string, path: string): Promise<void> {
    const temporary = `${path}.new`
    try {
      await rm(temporary, { recursive: true, force: true })
      const { body } = await this.blobstore.get(cacheKey(appGuid, stack))
      await extractTar(body, temporary, { limits: LIMITS, links: 'any', ...(process.getuid?.() === 0 ? { owner: VCAP } : {}) })
      await rename(temporary, path)
    } catch (error) {
      // A cache that is missing or damaged costs time, nothing else.
      await rm(temporary, { recursive: true, force: true })
      if (error instanceof BlobError && error.kind !== 'not-found') throw error
    }
  }
}

const cacheKey = (appGuid: string, stack: string): string => `caches/${appGuid}/${stack}`
