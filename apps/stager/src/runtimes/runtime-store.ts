import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { chmod, lchown, lstat, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { extractTar, extractZip, packTar } from '@bloomery/archives'
import type { Logger } from '@bloomery/telemetry'
import { z } from 'zod'
import type { Leftover } from '../leftovers/leftover.js'
import { linkTree, makeFolder, VCAP } from '../staging/owned-files.js'
import type { Published } from './choose-version.js'
import { type Dependency, forArchitecture } from './manifest.js'
import type { Choice, Offer, RuntimeSources } from './runtime-sources.js'

const LIMITS = { maxEntries: 100_000, maxBytes: 2 * 1024 ** 3, maxRatio: 500 }
const UNUSED_MS = 30 * 24 * 3_600_000
const INTERRUPTED_MS = 3_600_000
/** In the archive of a droplet, where the first buildpack's runtime lies; the packer looks for it under this name. */
const MEMBERS = '.members'
/** What is known about each: where it came from and with which checksum. */
const RECORDS = '.records'
const OWN = [MEMBERS, RECORDS]
const END_OF_ARCHIVE_BYTES = 1024
const PackageBin = z.object({ bin: z.union([z.string(), z.record(z.string(), z.string())]).optional() })

const Origin = z.object({
  source: z.string(),
  /** One name: an earlier release wrote those of all architectures, joined by words. */
  name: z.string().regex(/^\S+$/),
  version: z.string(),
  checksum: z.string(),
})
/** Where a runtime came from: the source's kind, what it calls it, and the checksum that it was found to have. */
export type Origin = z.infer<typeof Origin>

export interface Runtime {
  /** Name of its folder in the store. */
  readonly folder: string
  /** The one with what goes into droplets; may be the same. */
  readonly dropletFolder: string
  readonly version: string
  readonly origin: Origin
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
    private readonly sources: RuntimeSources,
    private readonly architecture: string,
    private readonly logger: Logger,
  ) {}

  /**
   * The newest version in the range, from the first source that has one; or one that the buildpack itself offered. Throws an Error whose text
   * is for the user.
   */
  async obtain(dependency: Dependency, range: string, offered: readonly Offer[] = []): Promise<Runtime | Offer> {
    const failures: string[] = []
    for await (const choice of this.sources.choices(dependency, range, offered)) {
      if (choice.kind === 'offered') return choice.offer
      try {
        return await this.#fromSource(dependency, choice)
      } catch (error) {
        this.logger.warn({ err: error, dependency: dependency.name, source: choice.source.kind }, 'a source of a runtime failed')
        failures.push(error instanceof Error ? error.message : String(error))
      }
    }
    throw new Error(failures.join('\n'))
  }

  async #fromSource(dependency: Dependency, choice: Choice & { kind: 'source' }): Promise<Runtime> {
    const key = `${dependency.name}-${choice.published.version}-${this.architecture}`
    const running = this.#installing.get(key)
    if (running) return running
    const installing = this.#install(key, dependency, choice).finally(() => this.#installing.delete(key))
    this.#installing.set(key, installing)
    const runtime = await installing
    this.#packSoon(dependency.name, runtime.dropletFolder)
    return runtime
  }

  /** When nothing is being written any more. */
  async settled(): Promise<void> {
    await this.#packing
  }

  /** What was not used for a month, what an interrupted installation left, and what belonged to either. */
  async leftovers(): Promise<readonly Leftover[]> {
    const present = await readdir(this.folder).catch((): string[] => [])
    const isOver = async (name: string): Promise<boolean> => {
      const found = await stat(join(this.folder, name)).catch(() => undefined)
      return found !== undefined && Date.now() - found.mtimeMs > (name.startsWith('.new-') ? INTERRUPTED_MS : UNUSED_MS)
    }
    const over = await Promise.all(
      present.filter((name) => !OWN.includes(name)).map(async (name) => ((await isOver(name)) ? [name] : [])),
    )
    const beside = await Promise.all(
      [MEMBERS, RECORDS].map(async (own) =>
        (await readdir(join(this.folder, own)).catch((): string[] => []))
          .filter((name) => !present.includes(runtimeOf(name)))
          .map((name) => `${own}/${name}`),
      ),
    )
    const leftover = (name: string, reason: string, stillOver: () => Promise<boolean>): Leftover => ({
      path: `runtimes/${name}`,
      kind: 'runtime',
      reason,
      folder: join(this.folder, name),
      remove: async () => {
        if (await stillOver()) await rm(join(this.folder, name), { recursive: true, force: true })
      },
    })
    return [
      ...over
        .flat()
        .map((name) =>
          leftover(
            name,
            name.startsWith('.new-') ? 'of an installation that was interrupted' : 'runtime that no build has used for a month',
            () => isOver(name),
          ),
        ),
      ...beside.flat().map((name) => leftover(name, 'of a runtime that is gone', () => Promise.resolve(true))),
    ]
  }

  async #install(key: string, dependency: Dependency, { source, published }: Choice & { kind: 'source' }): Promise<Runtime> {
    await mkdir(this.folder, { recursive: true, mode: 0o755 })
    const names = await readdir(this.folder)
    const { version } = published
    const present = names.find((each) => each.startsWith(`${key}-`) && !each.endsWith('.droplet'))
    const origin = present === undefined ? undefined : await this.#originOf(present)
    if (present !== undefined && origin !== undefined) {
      const dropletFolder = await this.#dropletFolder(present, dependency.droplet, names)
      const now = new Date()
      for (const used of [present, dropletFolder]) await utimes(join(this.folder, used), now, now)
      return { folder: present, dropletFolder, version, origin }
    }
    return this.#bring(key, dependency, source, published)
  }

  async #bring(
    key: string,
    dependency: Dependency,
    source: (Choice & { kind: 'source' })['source'],
    published: Published,
  ): Promise<Runtime> {
    const { version } = published
    const download = await mkdtemp(join(tmpdir(), 'bloomery-runtime-'))
    const unpacked = join(this.folder, `.new-${key}-${process.pid}`)
    try {
      const archive = await this.sources.download(source, published, download)
      const folder = `${key}-${createHash('sha256').update(archive.checksum).digest('hex').slice(0, 16)}`
      const origin: Origin = {
        source: source.kind,
        name: nameIn(source, this.architecture),
        version: published.name,
        checksum: archive.checksum,
      }
      const names = await readdir(this.folder)
      if (names.includes(folder)) {
        // It lacked its record only.
        await this.#record(folder, origin)
        return { folder, dropletFolder: await this.#dropletFolder(folder, dependency.droplet, names), version, origin }
      }
      await rm(unpacked, { recursive: true, force: true })
      if (archive.format === 'zip') await extractZip(archive.path, unpacked, LIMITS)
      else await extractTar(createReadStream(archive.path), unpacked, { limits: LIMITS, links: 'inside' })
      const root = await rootOf(unpacked, source.root ?? archive.root)
      await makeProgramsExecutable(root, source.executable)
      if (process.getuid?.() === 0) await giveToVcap(root)
      await chmod(root, 0o755)
      await this.#record(folder, origin)
      await rename(root, join(this.folder, folder))
      return { folder, dropletFolder: await this.#dropletFolder(folder, dependency.droplet, names), version, origin }
    } finally {
      await rm(unpacked, { recursive: true, force: true })
      await rm(download, { recursive: true, force: true })
    }
  }

  async #record(folder: string, origin: Origin): Promise<void> {
    await mkdir(join(this.folder, RECORDS), { recursive: true, mode: 0o755 })
    await writeFile(join(this.folder, RECORDS, `${folder}.json`), JSON.stringify(origin))
  }

  async #originOf(folder: string): Promise<Origin | undefined> {
    try {
      return Origin.parse(JSON.parse(await readFile(join(this.folder, RECORDS, `${folder}.json`), 'utf8')))
    } catch {
      return undefined // not of this form: an earlier release installed it
    }
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

/** `node-22…@deps_0_node.gz` and `node-22….json` belong to `node-22…`. */
const runtimeOf = (beside: string): string =>
  beside.includes('@') ? (beside.split('@')[0] ?? '') : beside.replace(/\.json$/, '')

/** The folder that is the runtime: the one named, or a single one at the top. */
async function rootOf(unpacked: string, named: string | undefined): Promise<string> {
  if (named !== undefined) return join(unpacked, named)
  const top = await readdir(unpacked)
  return top.length === 1 && top[0] !== undefined ? join(unpacked, top[0]) : unpacked
}

const nameIn = (source: (Choice & { kind: 'source' })['source'], architecture: string): string => {
  switch (source.kind) {
    case 'npm':
    case 'pypi':
      return forArchitecture(source.package, architecture)
    case 'gomod':
      return source.module
    case 'maven':
      return `${source.group}:${source.artifact}`
    case 'url':
      return new URL(source.uri).hostname
  }
}

/** What npm calls programs, and what the manifest says. */
async function makeProgramsExecutable(root: string, named: readonly string[]): Promise<void> {
  const text = await readFile(join(root, 'package.json'), 'utf8').catch(() => '{}')
  const { bin } = PackageBin.parse(JSON.parse(text))
  const programs = typeof bin === 'string' ? [bin] : Object.values(bin ?? {})
  for (const pattern of named) {
    if (!pattern.endsWith('/*')) programs.push(pattern)
    else
      for (const entry of await readdir(join(root, dirname(pattern)), { withFileTypes: true, recursive: true }).catch(() => []))
        if (entry.isFile()) programs.push(join(entry.parentPath, entry.name).slice(root.length))
  }
  for (const program of programs)
    if (
      await lstat(join(root, program)).then(
        (found) => found.isFile(),
        () => false,
      )
    )
      await chmod(join(root, program), 0o755)
}

async function giveToVcap(root: string): Promise<void> {
  await lchown(root, VCAP, VCAP)
  for (const entry of await readdir(root, { withFileTypes: true, recursive: true }))
    await lchown(join(entry.parentPath, entry.name), VCAP, VCAP)
}
