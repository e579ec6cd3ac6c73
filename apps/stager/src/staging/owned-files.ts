import { chmod, chown, copyFile, lchown, link, lstat, mkdir, readdir, readlink, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/** The user whom everything in a droplet belongs to, inside and on the machine. */
export const VCAP = 2000
const isRoot = (): boolean => process.getuid?.() === 0

/** A folder as droplets have it: vcap's where we may say so. */
export async function makeFolder(path: string): Promise<void> {
  await mkdir(path, { mode: 0o755 })
  await chmod(path, 0o755)
  if (isRoot()) await chown(path, VCAP, VCAP)
}

/** The folders from `root` (which is there) down to `path`. */
export async function makeFolders(root: string, path: string): Promise<void> {
  let at = root
  for (const name of path.split('/').filter((each) => each !== '' && each !== '.')) {
    at = join(at, name)
    if (!(await isThere(at))) await makeFolder(at)
  }
}

/**
 * Gives a file or folder `path` of `source` a second name below `target`: files share their inodes where both lie on one file system. A path that
 * is not there is left out.
 */
export async function linkTree(source: string, target: string, path: string): Promise<void> {
  const from = join(source, path)
  if (!(await isThere(from))) return
  await makeFolders(target, dirname(path))
  await linkEntry(from, join(target, path))
}

async function linkEntry(from: string, to: string): Promise<void> {
  const found = await lstat(from)
  if (found.isDirectory()) {
    await makeFolder(to).catch((error: unknown) => {
      if (!isCode(error, 'EEXIST')) throw error
    })
    for (const name of await readdir(from)) await linkEntry(join(from, name), join(to, name))
  } else if (found.isSymbolicLink()) {
    await symlink(await readlink(from), to)
    if (isRoot()) await lchown(to, VCAP, VCAP)
  } else if (found.isFile()) {
    await link(from, to).catch(async (error: unknown) => {
      if (!['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP'].some((code) => isCode(error, code))) throw error
      await copyFile(from, to)
      if (isRoot()) await chown(to, VCAP, VCAP)
    })
  }
}

const isThere = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    () => false,
  )

const isCode = (error: unknown, code: string): boolean =>
  typeof error === 'object' && error !== null && 'code' in error && error.code === code
