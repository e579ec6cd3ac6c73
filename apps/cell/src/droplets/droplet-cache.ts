import { createHash, type Hash } from 'node:crypto'
import { chown, mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Readable, Transform } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { extractTar } from '@bloomery/archives'
import type { DropletSource, MachineLeftover } from '@bloomery/contracts'
import type { Logger } from '@bloomery/telemetry'

const VCAP = 2000
const ATTEMPTS = 3
/** A droplet is made by our own stagers or uploaded by a user of the platform; these are bounds against a broken or malicious one. */
const LIMITS = { maxEntries: 1_000_000, maxBytes: 16 * 1024 ** 3, maxRatio: 1000 }
/** A stager hands a folder over before its app is started: what is this young may be about to be used. */
const YOUNG_MS = 30 * 60_000
const SHA256 = /^[0-9a-f]{64}$/
/** Not what lies beside one: its size. */
const LAYER = /^layer-(?!.*\.size$)[\w.-]{1,200}$/

/** A start that failed for the platform's sake. */
export class DropletUnavailable extends Error {
  override readonly name = 'DropletUnavailable'
}

/** Something that nothing needs any more; what is needed again by the time it shall go stays. */
export interface Leftover extends MachineLeftover {
  readonly remove: () => Promise<void>
}

export interface DropletCacheOptions {
  readonly folder: string
  /** Folders that nobody uses are removed beyond this, the least recently used first. */
  readonly maxBytes: number
  readonly download: (url: string, signal: AbortSignal) => Promise<Readable>
  readonly logger: Logger
}

/**
 * Unpacked droplets, one read-only folder each, named by the archive's SHA-256. A folder appears whole, by renaming; a stager on the
 * same machine may put one there in the same way, and beside it `<sha256>.layers`, a list of folders `layer-…` that hold the rest of the droplet:
 * runtimes and packages, which droplets share. The first lies on top.
 */
export class DropletCache {
  private readonly unpacking = new Map<string, Promise<readonly string[]>>()
  private readonly users = new Map<string, Set<string>>()
  /** Being taken away just now. */
  private readonly leaving = new Map<string, Promise<void>>()

  constructor(private readonly options: DropletCacheOptions) {}

  /** The folders of a droplet, the topmost first; fetched and unpacked if need be, kept for as long as `user` has not released it. */
  async acquire(source: DropletSource, user: string, signal: AbortSignal): Promise<readonly string[]> {
    const { sha256 } = source
    if (!SHA256.test(sha256)) throw new DropletUnavailable(`The droplet has no valid checksum: '${sha256}'`)
    this.hold(sha256, user)
    const path = join(this.options.folder, sha256)
    await this.leaving.get(sha256)
    const present = this.unpacking.get(sha256) ?? (await this.foldersOf(sha256))
    if (present !== undefined) return present
    const again = this.unpacking.get(sha256)
    if (again !== undefined) return again
    const unpacking = this.unpack(source, path, signal).finally(() => this.unpacking.delete(sha256))
    this.unpacking.set(sha256, unpacking)
    return unpacking
  }

  /** Marks a droplet as used, e.g. by a container that was found running. */
  hold(sha256: string, user: string): void {
    const users = this.users.get(sha256) ?? new Set()
    users.add(user)
    this.users.set(sha256, users)
  }

  release(sha256: string, user: string): void {
    const users = this.users.get(sha256)
    users?.delete(user)
    if (users?.size === 0) this.users.delete(sha256)
  }

  /** Removes what nobody uses beyond the bound, and what an interrupted unpacking left. */
  async evict(): Promise<void> {
    const { folder, maxBytes, logger } = this.options
    await mkdir(folder, { recursive: true, mode: 0o755 })
    const found = []
    let total = 0
    const names = await readdir(folder)
    for (const name of names) {
      const path = join(folder, name)
      if (LAYER.test(name)) continue
      if (name.endsWith('.layers') || name.endsWith('.size')) {
        const owner = name.slice(0, name.lastIndexOf('.'))
        const age = Date.now() - (await stat(path)).mtimeMs
        // The list comes before the folder.
        if (!names.includes(owner) && age > YOUNG_MS) await rm(path, { force: true })
        continue
      }
      if (!SHA256.test(name)) {
        const age = Date.now() - (await stat(path)).mtimeMs
        if (name.startsWith('.new-') && !this.unpacking.has(name.slice(5, 69)) && age > YOUNG_MS)
          await rm(path, { recursive: true, force: true })
        continue
      }
      const bytes = await this.sizeOf(name)
      total += bytes
      found.push({ name, bytes, usedAt: (await stat(path)).mtimeMs })
    }
    total += await this.removeUnusedLayers(names)
    for (const { name, bytes, usedAt } of found.sort((a, b) => a.usedAt - b.usedAt)) {
      if (total <= maxBytes) return
      if (Date.now() - usedAt < YOUNG_MS || !(await this.removeDroplet(name))) continue
      total -= bytes
      logger.info({ sha256: name, bytes }, 'removed an unused droplet')
    }
  }

  /**
   * What could go: droplets that the platform has deleted and nothing runs from, layers that no other droplet here is made of, and what an interrupted
   * unpacking left. What was used a moment ago is not among it.
   */
  async leftovers(deletedOf: (sha256s: readonly string[]) => Promise<ReadonlySet<string>>): Promise<readonly Leftover[]> {
    const { folder } = this.options
    const names = await readdir(folder)
    const old: string[] = []
    for (const name of names) if (await this.isOld(name)) old.push(name)
    const idle = old.filter((name) => SHA256.test(name) && !this.isUsed(name))
    const deleted = idle.length === 0 ? new Set<string>() : await deletedOf(idle)
    const gone = idle.filter((name) => deleted.has(name))
    const used = await this.usedLayers(names, gone)
    const leftover = async (name: string, kind: 'droplet' | 'layer', reason: string, remove: () => Promise<unknown>) => ({
      path: `droplets/${name}`,
      kind,
      reason,
      bytes: name.startsWith('.') ? await folderBytes(join(folder, name)) : await this.sizeOf(name),
      remove: async () => void ((await this.isOld(name)) && (await remove())),
    })
    return Promise.all([
      ...gone.map((name) =>
        leftover(name, 'droplet', 'of a droplet that was deleted; nothing runs from it here', () => this.removeDroplet(name)),
      ),
      ...old
        .filter((name) => LAYER.test(name) && !used.has(name))
        .map((name) => leftover(name, 'layer', 'layer that no other droplet here is made of', () => this.removeLayer(name))),
      ...old
        .filter((name) => name.startsWith('.new-') && !this.unpacking.has(name.slice(5, 69)))
        .map((name) =>
          leftover(name, 'droplet', 'of an unpacking that was interrupted', () =>
            rm(join(folder, name), { recursive: true, force: true }),
          ),
        ),
    ])
  }

  private isUsed(sha256: string): boolean {
    return this.users.has(sha256) || this.unpacking.has(sha256)
  }

  private async isOld(name: string): Promise<boolean> {
    const found = await stat(join(this.options.folder, name)).catch(() => undefined)
    return found !== undefined && Date.now() - found.mtimeMs > YOUNG_MS
  }

  /** False where somebody uses it by now. */
  private async removeDroplet(sha256: string): Promise<boolean> {
    if (this.isUsed(sha256)) return false
    const path = join(this.options.folder, sha256)
    const leaving = (async () => {
      // Renamed first: a folder that is half removed must not be taken for a droplet.
      const condemned = join(this.options.folder, `.new-${sha256}-gone-${Date.now()}`)
      await rename(path, condemned)
      for (const beside of ['size', 'layers']) await rm(`${path}.${beside}`, { force: true })
      await rm(condemned, { recursive: true, force: true })
    })()
    this.leaving.set(
      sha256,
      leaving.catch(() => undefined),
    )
    await leaving.finally(() => this.leaving.delete(sha256))
    return true
  }

  /** Unless a droplet is made of it by now. */
  private async removeLayer(name: string): Promise<void> {
    const { folder } = this.options
    if ((await this.usedLayers(await readdir(folder), [])).has(name)) return
    const condemned = join(folder, `.new-${name}-gone-${Date.now()}`)
    await rename(join(folder, name), condemned)
    await rm(condemned, { recursive: true, force: true })
    await rm(join(folder, `${name}.size`), { force: true })
    this.options.logger.info({ layer: name }, 'removed a layer that no droplet is made of')
  }

  /** Layers of the droplets that are here, those apart that are about to go. */
  private async usedLayers(names: readonly string[], going: readonly string[]): Promise<ReadonlySet<string>> {
    const lists = names.filter((name) => name.endsWith('.layers') && !going.includes(name.slice(0, -'.layers'.length)))
    return new Set((await Promise.all(lists.map((name) => readLayers(join(this.options.folder, name))))).flat())
  }

  /** undefined where the droplet is not here, or not whole. */
  private async foldersOf(sha256: string): Promise<readonly string[] | undefined> {
    const { folder } = this.options
    const path = join(folder, sha256)
    if (!(await touch(path))) return undefined
    const layers = await readLayers(`${path}.layers`)
    const present = await Promise.all(layers.map((layer) => touch(join(folder, layer))))
    if (present.every(Boolean)) return [path, ...layers.map((layer) => join(folder, layer))]
    // Somebody has removed a layer by hand; what is left of the droplet is of no use.
    const condemned = join(folder, `.new-${sha256}-broken-${Date.now()}`)
    await rename(path, condemned)
    await rm(`${path}.layers`, { force: true })
    await rm(condemned, { recursive: true, force: true })
    return undefined
  }

  /** Layers that no droplet here is made of. Answers the size of the others. */
  private async removeUnusedLayers(names: readonly string[]): Promise<number> {
    const used = await this.usedLayers(names, [])
    let total = 0
    for (const name of names.filter((each) => LAYER.test(each)))
      if (used.has(name) || !(await this.isOld(name))) total += await this.sizeOf(name)
      else await this.removeLayer(name)
    return total
  }

  private async unpack(source: DropletSource, path: string, signal: AbortSignal): Promise<readonly string[]> {
    const temporary = join(this.options.folder, `.new-${source.sha256}-${process.pid}-${Date.now()}`)
    for (let attempt = 1; ; attempt++) {
      signal.throwIfAborted()
      try {
        await this.fetchInto(source, temporary, signal)
        await rename(temporary, path).catch(async (error: unknown) => {
          // A stager was faster with the same content.
          if ((await this.foldersOf(source.sha256)) === undefined) throw error
        })
        void this.evict().catch((error: unknown) => this.options.logger.warn({ err: error }, 'could not clean the droplet cache'))
        return (await this.foldersOf(source.sha256)) ?? [path]
      } catch (error) {
        if (signal.aborted || attempt === ATTEMPTS || error instanceof DropletUnavailable)
          throw error instanceof DropletUnavailable
            ? error
            : new DropletUnavailable(
                `The droplet could not be fetched: ${error instanceof Error ? error.message : String(error)}`,
                { cause: error },
              )
        this.options.logger.warn({ err: error, sha256: source.sha256, attempt }, 'fetching a droplet failed, trying again')
        await delay(500 * attempt, undefined, { signal })
      } finally {
        await rm(temporary, { recursive: true, force: true })
      }
    }
  }

  private async fetchInto(source: DropletSource, target: string, signal: AbortSignal): Promise<void> {
    if (source.url === undefined)
      throw new DropletUnavailable('The droplet is not in the blob store yet and was not staged on this cell')
    await mkdir(target, { recursive: true, mode: 0o755 })
    const hash = createHash('sha256')
    const body = await this.options.download(source.url, signal)
    const hashing = hashingStream(hash)
    body.on('error', (error) => hashing.destroy(error))
    const owner = process.getuid?.() === 0 ? { owner: { uid: VCAP, gid: VCAP } } : {}
    await extractTar(body.pipe(hashing), target, { limits: LIMITS, links: 'any', signal, ...owner })
    const digest = hash.digest('hex')
    if (digest !== source.sha256) throw new Error(`its checksum is ${digest}, not ${source.sha256}`)
    if (process.getuid?.() === 0) await chown(target, VCAP, VCAP)
  }

  private async sizeOf(name: string): Promise<number> {
    const file = join(this.options.folder, `${name}.size`)
    const known = Number(await readFile(file, 'utf8').catch(() => Number.NaN))
    if (Number.isFinite(known)) return known
    const bytes = await folderBytes(join(this.options.folder, name))
    await writeFile(file, String(bytes))
    return bytes
  }
}

async function readLayers(path: string): Promise<readonly string[]> {
  const text = await readFile(path, 'utf8').catch(() => '[]')
  const names: unknown = JSON.parse(text)
  return Array.isArray(names) ? names.filter((name): name is string => typeof name === 'string' && LAYER.test(name)) : []
}

/** The time of a folder is when it was last used; false when there is none. */
async function touch(path: string): Promise<boolean> {
  const now = new Date()
  return utimes(path, now, now).then(
    () => true,
    () => false,
  )
}

const hashingStream = (hash: Hash): Transform =>
  new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk)
      done(null, chunk)
    },
  })

async function folderBytes(folder: string): Promise<number> {
  let total = 0
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) total += (await stat(join(entry.parentPath, entry.name)).catch(() => undefined))?.size ?? 0
  return total
}
