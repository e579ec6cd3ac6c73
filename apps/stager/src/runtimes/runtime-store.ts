import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { chmod, mkdir, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { extractTar, packTar } from '@bloomery/archives'
import type { Logger } from '@bloomery/telemetry'
import { z } from 'zod'
import { linkTree, makeFolder, VCAP } from '../staging/owned-files.js'
import { chooseVersion } from './choose-version.js'
import type { Dependency } from './manifest.js'
import type { NpmPackages } from './npm-packages.js'

const LIMITS = { maxEntries: 100_000, maxBytes: 2 * 1024 ** 3, maxRatio: 500 }
const UNUSED_MS = 30 * 24 * 3_600_000
/** In the archive of a droplet, where the first buildpack's runtime lies; the packer looks for it under this name. */
const MEMBERS = '.members'
const END_OF_ARCHIVE_BYTES = 1024
const PackageBin = z.object({ bin: z.union([z.string(), z.record(z.string(), z.string())]).optional() })

export interface Runtime {
  /** Name of its folder in the store. */
  readonly folder: string
  /** The one with what goes into droplets; may be the same. */
  readonly dropletFolder: string
  readonly version: string
}

/**
 * Unpacked runtimes, shared by all apps of this machine: written by the stager alone, after their checksum was found right, and mounted
 * read-only into stagings and, as a layer, into instances. Folders are named by version and checksum. Below `.members` each lies once more as
 * the piece of archive that droplets are put together from.
 */
export class RuntimeStore {
  readonly #installing = new Map<string, Promise<Runtime>>()
  #packing: Promise<void> = Promise.resolve()
  constructor(
    readonly folder: string,
    private readonly packages: NpmPackages,
    private readonly architecture: string,
    private readonly logger: Logger,
  ) {}

  async obtain(dependency: Dependency, range: string): Promise<Runtime> {
    const name = this.#packageName(dependency)
    const version = chooseVersion(dependency.name, range, await this.packages.versions(name), dependency.aliases)
    const key = `${dependency.name}-${version}-${this.architecture}`
    const running = this.#installing.get(key)
    if (running) return running
    const installing = this.#install(key, name, version, dependency.droplet).finally(() => this.#installing.delete(key))
    this.#installing.set(key, installing)
    const runtime = await installing
    this.#packSoon(dependency.name, runtime.dropletFolder)
    return runtime
  }

  /** When nothing is being written any more. */
  async settled(): Promise<void> {
    await this.#packing
  }

  /** Removes what was not used for a month, and what an interrupted installation left. */
  async evict(): Promise<void> {
    const present = await readdir(this.folder).catch((): string[] => [])
    const members = await readdir(join(this.folder, MEMBERS)).catch((): string[] => [])
    for (const name of members)
      if (!present.includes(name.split('@')[0] ?? '')) await rm(join(this.folder, MEMBERS, name), { force: true })
    for (const name of present) {
      if (name === MEMBERS) continue
      const path = join(this.folder, name)
      const { mtimeMs } = await stat(path)
      const limit = name.startsWith('.new-') ? 3_600_000 : UNUSED_MS
      if (Date.now() - mtimeMs > limit) await rm(path, { recursive: true, force: true })
    }
  }

  #packageName({ name, package: found }: Dependency): string {
    const chosen = typeof found === 'string' ? found : found?.[this.architecture]
    if (chosen === undefined) throw new Error(`${name} is not offered for the architecture ${this.architecture}`)
    return chosen
  }

  async #install(key: string, name: string, version: string, droplet: readonly string[] | undefined): Promise<Runtime> {
    await mkdir(this.folder, { recursive: true, mode: 0o755 })
    const names = await readdir(this.folder)
    const present = names.find((each) => each.startsWith(`${key}-`) && !each.endsWith('.droplet'))
    if (present !== undefined) {
      const dropletFolder = await this.#dropletFolder(present, droplet, names)
      const now = new Date()
      for (const used of [present, dropletFolder]) await utimes(join(this.folder, used), now, now)
      return { folder: present, dropletFolder, version }
    }
    return this.packages.download(name, version, async (archive, integrity) => {
      const folder = `${key}-${createHash('sha256').update(integrity).digest('hex').slice(0, 16)}`
      const unpacked = join(this.folder, `.new-${folder}-${process.pid}`)
      try {
        const owner = process.getuid?.() === 0 ? { owner: { uid: VCAP, gid: VCAP } } : {}
        await extractTar(createReadStream(archive), unpacked, { limits: LIMITS, links: 'inside', ...owner })
        // npm's archives have one folder at the top; nearly always it is called package.
        const [top] = await readdir(unpacked)
        const root = join(unpacked, top ?? '')
        await makeProgramsExecutable(root)
        await chmod(root, 0o755)
        await rename(root, join(this.folder, folder))
        return { folder, dropletFolder: await this.#dropletFolder(folder, droplet, []), version }
      } finally {
        await rm(unpacked, { recursive: true, force: true })
      }
    })
  }

  /** A second folder with the chosen files of the first, under the same inodes. */
  async #dropletFolder(folder: string, chosen: readonly string[] | undefined, present: readonly string[]): Promise<string> {
    if (chosen === undefined) return folder
    const name = `${folder}.droplet`
    if (present.includes(name)) return name
    const target = join(this.folder, `.new-${name}-${process.pid}`)
    try {
      await rm(target, { recursive: true, force: true })
      await makeFolder(target)
      for (const path of chosen) await linkTree(join(this.folder, folder), target, path)
      await rename(target, join(this.folder, name))
    } finally {
      await rm(target, { recursive: true, force: true })
    }
    return name
  }

  /** Once per runtime, beside the first build that asks for it: all others copy the compressed piece. */
  #packSoon(dependency: string, folder: string): void {
    this.#packing = this.#packing
      .then(() => this.#pack(folder, `deps/0/${dependency}`))
      .catch((error: unknown) => this.logger.warn({ err: error, folder }, 'a runtime could not be packed beforehand'))
  }

  async #pack(folder: string, archiveName: string): Promise<void> {
    const path = join(this.folder, MEMBERS, `${folder}@${archiveName.replaceAll('/', '_')}.gz`)
    const present = await stat(path).catch(() => undefined)
    if (present) return
    await mkdir(join(this.folder, MEMBERS), { recursive: true, mode: 0o755 })
    const partial = `${path}.new`
    try {
      const archive = packTar(join(this.folder, folder), { prefix: `./${archiveName}/`, owner: { uid: VCAP, gid: VCAP } })
      await pipeline(archive, withoutEnd, createGzip({ level: 1 }), createWriteStream(partial, { mode: 0o644 }))
      await rename(partial, path)
    } finally {
      await rm(partial, { force: true })
    }
  }
}

/** A piece of an archive ends without the blocks that close one. */
async function* withoutEnd(archive: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let held = Buffer.alloc(0)
  for await (const chunk of archive) {
    const all = Buffer.concat([held, chunk])
    const end = Math.max(0, all.length - END_OF_ARCHIVE_BYTES)
    yield all.subarray(0, end)
    held = all.subarray(end)
  }
}

async function makeProgramsExecutable(root: string): Promise<void> {
  const { bin } = PackageBin.parse(JSON.parse(await readFile(join(root, 'package.json'), 'utf8')))
  const programs = typeof bin === 'string' ? [bin] : Object.values(bin ?? {})
  for (const program of programs) await chmod(join(root, program), 0o755)
}
