import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { packTar } from '@bloomery/archives'
import { stringify } from 'yaml'
import yazl from 'yazl'
import { readDependencies } from '../runtimes/manifest.js'
import type { RuntimeStore } from '../runtimes/runtime-store.js'

export interface PackageOptions {
  /** Folder of the system buildpacks. */
  readonly systemFolder: string
  /** One of them, e.g. nodejs. */
  readonly name: string
  /** What it shall carry, e.g. `node@22.x`; nothing makes a buildpack that asks the platform. */
  readonly runtimes: readonly string[]
  readonly store: RuntimeStore
  /** The zip to write. */
  readonly output: string
}

/**
 * Makes a zip of a system buildpack that `create-buildpack` takes. The runtimes in it are found by their checksum in its manifest's list
 * `carried`, and are used before any source is asked: a site without a network needs nothing else.
 */
export async function packageBuildpack(options: PackageOptions): Promise<void> {
  const { systemFolder, name, output } = options
  const known = await namesIn(systemFolder)
  if (!known.includes(name)) throw new Error(`there is no buildpack ${name}; there are ${known.join(', ')}`)
  const source = join(systemFolder, name)
  const work = await mkdtemp(join(tmpdir(), 'bloomery-package-'))
  try {
    const zip = new yazl.ZipFile()
    await addFolder(zip, source, '', ['manifest.yml'])
    await addFolder(zip, join(systemFolder, 'shared', 'lib'), 'lib/', [])
    const carried: { name: string; version: string; file: string; sha256: string }[] = []
    for (const wanted of options.runtimes) {
      const entry = await carry(options, wanted, work)
      zip.addFile(join(work, entry.file), `dependencies/${entry.file}`)
      carried.push({ ...entry, file: `dependencies/${entry.file}` })
    }
    const manifest = await readFile(join(source, 'manifest.yml'), 'utf8')
    zip.addBuffer(Buffer.from(carried.length > 0 ? `${manifest}${stringify({ carried })}` : manifest), 'manifest.yml')
    zip.end()
    await pipeline(zip.outputStream, createWriteStream(output))
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** Those that come with the product; what they share is no buildpack. */
async function namesIn(systemFolder: string): Promise<string[]> {
  const entries = await readdir(systemFolder, { withFileTypes: true })
  return entries.flatMap((entry) => (entry.isDirectory() && entry.name !== 'shared' ? [entry.name] : [])).sort()
}

async function carry(
  { systemFolder, name, store }: PackageOptions,
  wanted: string,
  work: string,
): Promise<{ name: string; version: string; file: string; sha256: string }> {
  const [dependencyName = '', range = '*'] = wanted.split('@')
  const dependencies = await readDependencies(join(systemFolder, name, 'manifest.yml'))
  const dependency = dependencies.find((each) => each.name === dependencyName)
  if (!dependency)
    throw new Error(`${name} knows no ${dependencyName}; it knows ${dependencies.map((each) => each.name).join(', ')}`)
  const found = await store.obtain(dependency, range)
  if ('from' in found) throw new Error(`${dependencyName} is part of the stack and need not be carried`)
  const file = `${dependencyName}-${found.version}.tar.gz`
  await pipeline(packTar(join(store.folder, found.folder)), createGzip({ level: 6 }), createWriteStream(join(work, file)))
  const hash = createHash('sha256')
  await pipeline(createReadStream(join(work, file)), hash)
  return { name: dependencyName, version: found.version, file, sha256: hash.digest('hex') }
}

async function addFolder(zip: yazl.ZipFile, folder: string, below: string, without: readonly string[]): Promise<void> {
  for (const entry of (await readdir(folder, { withFileTypes: true })).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (without.includes(below + entry.name) || entry.name === '__pycache__') continue
    const path = join(folder, entry.name)
    if (entry.isDirectory()) await addFolder(zip, path, `${below}${entry.name}/`, without)
    else zip.addFile(path, below + entry.name, { mode: (await stat(path)).mode })
  }
}
