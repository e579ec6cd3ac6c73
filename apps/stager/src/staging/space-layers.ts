import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { AppLayer } from './app-layers.js'

/** Each is a mount of every staging in the space that may use it. */
const MOST = 12
const UNUSED_MS = 30 * 24 * 3_600_000

const SpaceLayer = AppLayer.extend({
  /** Which buildpack made it, on what; see `makerOf`. */
  maker: z.string(),
  madeAt: z.coerce.date(),
})
export type SpaceLayer = z.infer<typeof SpaceLayer>

/**
 * Folders of installed packages that apps of one space share on this machine: what one app has installed another takes as it is, when the same
 * buildpack on the same stack asks for the same key (the lock's content among it). Never across spaces: what a layer holds was written by a
 * build, and a build may claim any key.
 */
export class SpaceLayers {
  readonly #writing = new Map<string, Promise<void>>()

  constructor(private readonly folder: string) {}

  /** Those that one of `makers` left and that still lie among the cell's droplets, the newest first. */
  async read(
    spaceGuid: string,
    droplets: string | undefined,
    makers: ReadonlySet<string>,
    clearedAt: Date | undefined,
  ): Promise<readonly SpaceLayer[]> {
    if (droplets === undefined) return []
    const usable = (await this.#known(spaceGuid)).filter(
      ({ maker, madeAt }) => makers.has(maker) && (clearedAt === undefined || madeAt > clearedAt),
    )
    const now = new Date()
    const present = await Promise.all(
      usable.map((each) =>
        stat(join(droplets, each.layer, each.name))
          // The cell leaves alone what was used lately.
          .then(() => utimes(join(droplets, each.layer), now, now))
          .then(
            () => [each],
            () => [],
          ),
      ),
    )
    return present.flat()
  }

  /** Puts an app's layers before those that are there. */
  async add(spaceGuid: string, layers: readonly AppLayer[], maker: string, madeAt = new Date()): Promise<void> {
    if (layers.length === 0) return
    const earlier = this.#writing.get(spaceGuid) ?? Promise.resolve()
    const writing = earlier.catch(() => undefined).then(() => this.#write(spaceGuid, layers, maker, madeAt))
    this.#writing.set(spaceGuid, writing)
    try {
      await writing
    } finally {
      if (this.#writing.get(spaceGuid) === writing) this.#writing.delete(spaceGuid)
    }
  }

  /** Forgets spaces in which nothing was staged for a month. */
  async evict(): Promise<void> {
    for (const name of await readdir(this.folder).catch((): string[] => [])) {
      const { mtimeMs } = await stat(join(this.folder, name))
      if (Date.now() - mtimeMs > UNUSED_MS) await rm(join(this.folder, name), { force: true })
    }
  }

  async #write(spaceGuid: string, layers: readonly AppLayer[], maker: string, madeAt: Date): Promise<void> {
    const known = await this.#known(spaceGuid)
    const fresh = layers.map((layer) => {
      // Taken from another app of the space: as old as it was, or clearing the caches would not reach it.
      const same = known.find((each) => each.layer === layer.layer)
      return { ...layer, maker, madeAt: same?.madeAt ?? madeAt }
    })
    const replaced = new Set(fresh.map(identity))
    const kept = [...fresh, ...known.filter((each) => !replaced.has(identity(each)))].slice(0, MOST)
    await mkdir(this.folder, { recursive: true, mode: 0o700 })
    const path = this.#path(spaceGuid)
    await writeFile(`${path}.new`, JSON.stringify(kept), { mode: 0o600 })
    await rename(`${path}.new`, path)
  }

  async #known(spaceGuid: string): Promise<readonly SpaceLayer[]> {
    try {
      return z.array(SpaceLayer).parse(JSON.parse(await readFile(this.#path(spaceGuid), 'utf8')))
    } catch {
      return [] // there is none yet, or it is of no use: apps install for themselves
    }
  }

  #path(spaceGuid: string): string {
    return join(this.folder, `${spaceGuid}.json`)
  }
}

const identity = ({ name, key, maker }: Pick<SpaceLayer, 'name' | 'key' | 'maker'>): string => `${name}\0${key}\0${maker}`

/** `source`: the folder of the buildpack's files, which is named by their checksum. */
export function makerOf(made: { readonly source: string; readonly stack: string; readonly imageDigest: string }): string {
  return createHash('sha256').update(`${made.stack}\0${made.imageDigest}\0${made.source}`).digest('hex')
}
