import { createHash } from 'node:crypto'
import { chmod, chown, mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join, normalize, sep } from 'node:path'
import { EngineError, type ContainerSpec } from './engine.js'
import { isRoot } from './run.js'

/** Memory, not disk; on the machine of the engine, so an agent in a container of its own has it mounted at the same place. */
const MEMORY = '/dev/shm'
const VCAP = 2000

const rootOf = (installationId: string): string => join(MEMORY, `bloomery-${installationId}`)

/** Where the secret files of containers lie that this engine makes: beside its folder, but in memory. */
export const secretFilesRoot = (installationId: string, folder: string): string =>
  join(rootOf(installationId), createHash('sha256').update(folder).digest('hex').slice(0, 12))

/** Writes a container's secret files, and answers the spec with a read-only mount in their place. */
export async function placeSecretFiles(root: string, { secretFiles, ...spec }: ContainerSpec): Promise<ContainerSpec> {
  if (!secretFiles) return spec
  const folder = join(root, spec.name)
  // Those of vcap alone; without root they cannot be given to vcap, and the folder above keeps everybody else out.
  const [fileMode, folderMode] = isRoot() ? [0o400, 0o500] : [0o444, 0o555]
  try {
    await rm(folder, { recursive: true, force: true })
    await mkdir(root, { recursive: true, mode: 0o700 })
    await mkdir(folder)
    const folders = new Set([folder])
    for (const [path, content] of Object.entries(secretFiles.files)) {
      const file = normalize(join(folder, path))
      if (!file.startsWith(`${folder}${sep}`)) throw new Error(`${path} is no path below the folder`)
      for (let above = dirname(file); above !== folder; above = dirname(above)) folders.add(above)
      await mkdir(dirname(file), { recursive: true })
      await writeFile(file, content, { mode: 0o600 })
      await hand(file, fileMode)
    }
    for (const each of [...folders].sort().reverse()) await hand(each, folderMode)
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw new EngineError('refused', `Could not place the files of ${spec.name} in memory: ${messageOf(error)}`, { cause: error })
  }
  return { ...spec, mounts: [...spec.mounts, { source: folder, target: secretFiles.target, readOnly: true }] }
}

export const removeSecretFiles = (root: string, name: string): Promise<void> =>
  rm(join(root, name), { recursive: true, force: true })

/** Those of all the installation's engines on this machine. */
export const removeAllSecretFiles = (installationId: string): Promise<void> =>
  rm(rootOf(installationId), { recursive: true, force: true })

/** Removes what is left of containers that are gone. */
export async function removeStraySecretFiles(root: string, kept: ReadonlySet<string | undefined>): Promise<void> {
  for (const name of await readdir(root).catch(() => [])) if (!kept.has(name)) await removeSecretFiles(root, name)
}

async function hand(path: string, mode: number): Promise<void> {
  await chmod(path, mode)
  if (isRoot()) await chown(path, VCAP, VCAP)
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
