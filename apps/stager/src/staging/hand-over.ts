import { randomUUID } from 'node:crypto'
import { lstat, mkdir, realpath, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import type { AppLayer } from './app-layers.js'
import { linkTree, makeFolder, makeFolders } from './owned-files.js'
import type { DropletLayer } from './staging-result.js'
import type { Workspace } from './workspace.js'

export interface HandOver {
  /** The cell's folder of unpacked droplets. */
  readonly droplets: string
  readonly sha256: string
  /** Holds what the archive was made of, without the folders that are layers, and those apart. */
  readonly workspace: Pick<Workspace, 'tmp' | 'contents' | 'made'>
  readonly runtimes: string
  /** Layers that were mounted into this staging. */
  readonly mounted: readonly string[]
  readonly layers: readonly DropletLayer[]
}

/**
 * Gives the staged files to the cell on this machine as an unpacked droplet: the app's own files, and the layers beneath them in a list beside. Only
 * after the container has ended: nothing may change them any more. Answers which of the layers are the app's own, or undefined where that
 * cannot be, and the cell will unpack the archive.
 */
export async function handOver(given: HandOver): Promise<readonly AppLayer[] | undefined> {
  const { droplets, sha256 } = given
  const { contents } = given.workspace
  try {
    await requireOwnFolder(given.workspace.tmp, contents)
    await mkdir(droplets, { recursive: true, mode: 0o755 })
    const layers: (AppLayer | Omit<AppLayer, 'key'>)[] = []
    for (const each of given.layers) layers.push({ ...each, layer: await placeLayer(given, each) })
    const list = join(droplets, `${sha256}.layers`)
    await writeFile(`${list}.new`, JSON.stringify(layers.map(({ layer }) => layer)))
    await rename(`${list}.new`, list)
    const now = new Date()
    await utimes(contents, now, now)
    await rename(contents, join(droplets, sha256))
    return layers.flatMap((each) => ('key' in each ? [{ name: each.name, key: each.key, layer: each.layer }] : []))
  } catch {
    // Another file system, no right to it, or the same droplet is there already: all is well without.
    return undefined
  }
}

/**
 * What stood in the container was the app's to change: a link in the way to a folder would have us move a folder of somebody else. Nothing
 * changes it any more now.
 */
async function requireOwnFolder(tmp: string, path: string): Promise<void> {
  const [real, root] = await Promise.all([realpath(path), realpath(tmp)])
  if (real !== join(root, relative(tmp, path)) || !(await lstat(path)).isDirectory()) throw new Error(`${path} leads elsewhere`)
}

async function placeLayer(given: HandOver, { kind, source, name }: DropletLayer): Promise<string> {
  const { droplets, mounted, runtimes, workspace } = given
  switch (kind) {
    case 'layers': {
      if (!mounted.includes(source)) throw new Error(`${source} was not mounted`)
      const now = new Date()
      await utimes(join(droplets, source), now, now)
      return source
    }
    case 'made': {
      const layer = `layer-${randomUUID()}`
      const made = join(workspace.made, source)
      await requireOwnFolder(workspace.tmp, made)
      await rename(made, join(droplets, layer))
      return layer
    }
    case 'runtimes':
      return placeRuntime(droplets, runtimes, source, name)
  }
}

/** The runtime's files under their names in the droplet; made once for all droplets of this machine. */
async function placeRuntime(droplets: string, runtimes: string, source: string, name: string): Promise<string> {
  const layer = `layer-${source}-${name.slice(2).replaceAll('/', '-')}`
  const target = join(droplets, layer)
  const now = new Date()
  if (
    await utimes(target, now, now).then(
      () => true,
      () => false,
    )
  )
    return layer
  await stat(join(runtimes, source))
  const temporary = join(droplets, `.new-${layer}-${process.pid}-${randomUUID()}`)
  try {
    await makeFolder(temporary)
    const parent = name.slice(0, name.lastIndexOf('/'))
    await makeFolders(temporary, parent)
    await linkTree(runtimes, join(temporary, parent), source)
    await rename(join(temporary, parent, source), join(temporary, name))
    await rename(temporary, target).catch(async (error: unknown) => {
      // Another build was faster.
      await stat(target).catch(() => {
        throw error
      })
    })
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
  return layer
}
