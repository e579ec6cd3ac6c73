import { createHash } from 'node:crypto'
import { execFile } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { chmod, cp, mkdir, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { extractZip } from '@bloomery/archives'
import type { Blobstore } from '@bloomery/blobstore'
import type { BuildpackRecord } from '../builds/build-record.js'
import type { Leftover } from '../leftovers/leftover.js'
import { VCAP } from '../staging/owned-files.js'

const run = promisify(execFile)

/** A buildpack is made by people whom the operator trusts; bounds against a broken archive. Cached ones carry their runtimes. */
const LIMITS = { maxEntries: 200_000, maxBytes: 8 * 1024 ** 3, maxRatio: 500 }
const UNUSED_MS = 7 * 24 * 3_600_000

/**
 * Unpacked buildpacks, one read-only folder each, named by content. Copies lie below the stager's own folder because the engine must be
 * able to mount them, wherever the product itself lies.
 */
export class BuildpackStore {
  readonly #making = new Map<string, Promise<string>>()
  /** Of folders as they were: a build would read some hundred files only to find that nothing has changed. */
  readonly #digests = new Map<string, { readonly signature: string; readonly digest: string }>()
  constructor(
    private readonly folder: string,
    /** The product's own buildpacks. */
    private readonly systemFolder: string,
    private readonly blobstore: Blobstore,
  ) {}

  /** The folder to mount. */
  async prepare(record: BuildpackRecord): Promise<string> {
    if (record.system && record.blobKey === null) return this.prepareSystem(systemFolderName(record))
    const { blobKey, sha256 } = record
    if (blobKey === null || sha256 === null)
      throw new Error(`The buildpack ${record.name} has no bits; upload them (cf update-buildpack)`)
    return this.#once(`uploaded-${sha256}`, async (target) => {
      const archive = `${target}.zip`
      try {
        await pipeline((await this.blobstore.get(blobKey)).body, createWriteStream(archive))
        await extractZip(archive, target, LIMITS)
        // In a layer over it vcap may write; here nobody does.
        if (process.getuid?.() === 0) await run('chown', ['-R', `${VCAP}:${VCAP}`, target])
      } finally {
        await rm(archive, { force: true })
      }
    })
  }

  /** A folder of files that are part of the product (a system buildpack, the lifecycle), with what is shared put beside them. */
  async prepareSystem(name: string): Promise<string> {
    const source = join(this.systemFolder, name)
    const shared = join(this.systemFolder, 'shared', 'lib')
    const digest = await this.#contentDigest([source, shared])
    return this.#once(`${name}-${digest}`, async (target) => {
      await cp(source, target, { recursive: true })
      await cp(shared, join(target, 'lib'), { recursive: true })
    })
  }

  async prepareFolder(name: string, source: string): Promise<string> {
    const digest = await this.#contentDigest([source])
    return this.#once(`${name}-${digest}`, (target) => cp(source, target, { recursive: true }))
  }

  /** Of a system buildpack, for what its scripts ask of the platform. */
  manifestPath(name: string): string {
    return join(this.systemFolder, name, 'manifest.yml')
  }

  /** What no staging has used for a week. */
  async leftovers(): Promise<readonly Leftover[]> {
    const names = await readdir(this.folder).catch((): string[] => [])
    const unused = async (name: string): Promise<boolean> => {
      const found = await stat(join(this.folder, name)).catch(() => undefined)
      return found !== undefined && Date.now() - found.mtimeMs > UNUSED_MS
    }
    const left = await Promise.all(names.map(async (name) => ((await unused(name)) ? [name] : [])))
    return left.flat().map((name) => ({
      path: `buildpacks/${name}`,
      kind: 'buildpack',
      reason: 'unpacked buildpack that no build has used for a week',
      folder: join(this.folder, name),
      remove: async () => {
        if (await unused(name)) await rm(join(this.folder, name), { recursive: true, force: true })
      },
    }))
  }

  async #contentDigest(folders: readonly string[]): Promise<string> {
    const files = (await Promise.all(folders.map(filesOf))).flat()
    const signature = files.map(({ path, stamp }) => `${path}\0${stamp}`).join('\n')
    const key = folders.join('\0')
    const known = this.#digests.get(key)
    if (known?.signature === signature) return known.digest
    const hash = createHash('sha256')
    for (const { path, name, mode } of files)
      hash
        .update(`${name}\0${mode.toString(8)}\0`)
        .update(await readFile(path))
        .update('\0')
    const digest = hash.digest('hex').slice(0, 16)
    this.#digests.set(key, { signature, digest })
    return digest
  }

  #once(name: string, make: (target: string) => Promise<void>): Promise<string> {
    const path = join(this.folder, name)
    const running = this.#making.get(name)
    if (running) return running
    const making = (async () => {
      const now = new Date()
      const present = await utimes(path, now, now).then(
        () => true,
        () => false,
      )
      if (present) return path
      const target = join(this.folder, `.new-${name}-${process.pid}`)
      await mkdir(this.folder, { recursive: true, mode: 0o755 })
      await rm(target, { recursive: true, force: true })
      try {
        await make(target)
        await chmod(target, 0o755)
        await rename(target, path).catch(async (error: unknown) => {
          // Another stager on this folder was faster.
          if (!(await isThere(path))) throw error
        })
        return path
      } finally {
        await rm(target, { recursive: true, force: true })
      }
    })().finally(() => this.#making.delete(name))
    this.#making.set(name, making)
    return making
  }
}

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  )

/** `nodejs_buildpack-v1.0.0.zip` → `nodejs`: the folder, whatever an operator has renamed the buildpack to. */
export function systemFolderName({ filename, name }: Pick<BuildpackRecord, 'filename' | 'name'>): string {
  return (filename ?? name).replace(/_buildpack(-.*)?$/, '').replace(/[^A-Za-z0-9_-]/g, '')
}

async function filesOf(folder: string) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const paths = entries
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.pyc'))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
  return Promise.all(
    paths.map(async (path) => {
      const { mode, size, ino, mtimeMs, ctimeMs } = await stat(path)
      return { path, name: path.slice(folder.length), mode, stamp: `${mode} ${size} ${ino} ${mtimeMs} ${ctimeMs}` }
    }),
  )
}
