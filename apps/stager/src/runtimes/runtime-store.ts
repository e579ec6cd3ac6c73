import { createReadStream } from 'node:fs'
import { chmod, mkdir, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { createHash } from 'node:crypto'
import { extractTar } from '@bloomery/archives'
import { z } from 'zod'
import { chooseVersion } from './choose-version.js'
import type { Dependency } from './manifest.js'
import type { NpmPackages } from './npm-packages.js'

const LIMITS = { maxEntries: 100_000, maxBytes: 2 * 1024 ** 3, maxRatio: 500 }
const UNUSED_MS = 30 * 24 * 3_600_000
const PackageBin = z.object({ bin: z.union([z.string(), z.record(z.string(), z.string())]).optional() })

export interface Runtime {
  /** Name of its folder in the store. */
  readonly folder: string
  readonly version: string
}

/**
 * Unpacked runtimes, shared by all apps of this machine: written by the stager alone, after their checksum was found right, and mounted
 * read-only into stagings. Folders are named by version and checksum.
 */
export class RuntimeStore {
  readonly #installing = new Map<string, Promise<Runtime>>()
  constructor(
    readonly folder: string,
    private readonly packages: NpmPackages,
    private readonly architecture: string,
  ) {}

  async obtain(dependency: Dependency, range: string): Promise<Runtime> {
    const name = this.#packageName(dependency)
    const version = chooseVersion(dependency.name, range, await this.packages.versions(name), dependency.aliases)
    const key = `${dependency.name}-${version}-${this.architecture}`
    const running = this.#installing.get(key)
    if (running) return running
    const installing = this.#install(key, name, version).finally(() => this.#installing.delete(key))
    this.#installing.set(key, installing)
    return installing
  }

  /** Removes what was not used for a month, and what an interrupted installation left. */
  async evict(): Promise<void> {
    for (const name of await readdir(this.folder).catch(() => [])) {
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

  async #install(key: string, name: string, version: string): Promise<Runtime> {
    await mkdir(this.folder, { recursive: true, mode: 0o755 })
    const present = (await readdir(this.folder)).find((each) => each.startsWith(`${key}-`))
    if (present !== undefined) {
      const now = new Date()
      await utimes(join(this.folder, present), now, now)
      return { folder: present, version }
    }
    return this.packages.download(name, version, async (archive, integrity) => {
      const folder = `${key}-${createHash('sha256').update(integrity).digest('hex').slice(0, 16)}`
      const unpacked = join(this.folder, `.new-${folder}-${process.pid}`)
      try {
        await extractTar(createReadStream(archive), unpacked, { limits: LIMITS, links: 'inside' })
        // npm's archives have one folder at the top; nearly always it is called package.
        const [top] = await readdir(unpacked)
        const root = join(unpacked, top ?? '')
        await makeProgramsExecutable(root)
        await chmod(root, 0o755)
        await rename(root, join(this.folder, folder))
        return { folder, version }
      } finally {
        await rm(unpacked, { recursive: true, force: true })
      }
    })
  }
}

async function makeProgramsExecutable(root: string): Promise<void> {
  const { bin } = PackageBin.parse(JSON.parse(await readFile(join(root, 'package.json'), 'utf8')))
  const programs = typeof bin === 'string' ? [bin] : Object.values(bin ?? {})
  for (const program of programs) await chmod(join(root, program), 0o755)
}
