import { createHash } from 'node:crypto'
import { chmod, chown, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join, normalize, sep } from 'node:path'
import { EngineError, type ContainerSpec, type SecretFiles } from './engine.js'
import { isRoot } from './run.js'

/** Memory, not disk; on the machine of the engine, so an agent in a container of its own has it mounted at the same place. */
const MEMORY = '/dev/shm'
const VCAP = 2000

const rootOf = (installationId: string): string => join(MEMORY, `bloomery-${installationId}`)

/** Where the secret files of containers lie that this engine makes: beside its folder, but in memory. */
export const secretFilesRoot = (installationId: string, folder: string): string =>
  join(rootOf(installationId), createHash('sha256').update(folder).digest('hex').slice(0, 12))

/** Writes a container's secret files, and answers the spec with read-only mounts in their place. */
export async function placeSecretFiles(root: string, { secretFiles = [], ...spec }: ContainerSpec): Promise<ContainerSpec> {
  if (secretFiles.length === 0) return spec
  const folder = join(root, spec.name)
  try {
    await rm(folder, { recursive: true, force: true })
    await mkdir(root, { recursive: true, mode: 0o700 })
    await mkdir(folder)
    for (const each of secretFiles) await placeFolder(folderIn(folder, each.target), each.files)
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw new EngineError('refused', `Could not place the files of ${spec.name} in memory: ${messageOf(error)}`, { cause: error })
  }
  const mounts = secretFiles.map(({ target }) => ({ source: folderIn(folder, target), target, readOnly: true }))
  return { ...spec, mounts: [...spec.mounts, ...mounts] }
}

/** Writes files into a folder that was placed, each under another name first; false where there is no such folder. */
export async function replaceSecretFiles(root: string, name: string, { target, files }: SecretFiles): Promise<boolean> {
  const folder = folderIn(join(root, name), target)
  const { fileMode, folderMode } = modes()
  try {
    // Without root it has to be opened to oneself for that moment.
    if (!isRoot()) await chmod(folder, 0o755)
    for (const [path, content] of Object.entries(files)) {
      const file = within(folder, path)
      const next = join(dirname(file), `.${basename(file)}.new`)
      await rm(next, { force: true })
      await writeFile(next, content, { mode: 0o600 })
      await hand(next, fileMode)
      await rename(next, file)
    }
    if (!isRoot()) await chmod(folder, folderMode)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw new EngineError('refused', `Could not renew the files of ${name} in memory: ${messageOf(error)}`, { cause: error })
  }
}

/** Those of vcap alone; without root they cannot be given to vcap, and the folder above keeps everybody else out. */
const modes = () => (isRoot() ? { fileMode: 0o400, folderMode: 0o500 } : { fileMode: 0o444, folderMode: 0o555 })

const folderIn = (folder: string, target: string): string => join(folder, target.slice(1).replaceAll('/', '-'))

function within(folder: string, path: string): string {
  const file = normalize(join(folder, path))
  if (!file.startsWith(`${folder}${sep}`)) throw new Error(`${path} is no path below the folder`)
  return file
}

async function placeFolder(folder: string, files: SecretFiles['files']): Promise<void> {
  const { fileMode, folderMode } = modes()
  await mkdir(folder)
  const folders = new Set([folder])
  for (const [path, content] of Object.entries(files)) {
    const file = within(folder, path)
    for (let above = dirname(file); above !== folder; above = dirname(above)) folders.add(above)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, content, { mode: 0o600 })
    await hand(file, fileMode)
  }
  for (const each of [...folders].sort().reverse()) await hand(each, folderMode)
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
