import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { EmbeddedError } from './errors.js'

/** Which installation, and where its data lies. */
export interface Installation {
  /** BLOOMERY_HOME. */
  readonly home: string
  readonly installationId: string
}

/** Whom a server runs as; undefined: as whoever starts the platform. */
export interface ServerUser {
  readonly name: string
  readonly uid: number
  readonly gid: number
}

/** Where servers keep their data when their user cannot reach BLOOMERY_HOME. */
export const ROOT_STORAGE = '/var/lib/bloomery'
const USER_NAME = 'bloomery-db'
// sun_path holds 108 bytes on Linux and 104 on macOS, its final zero included.
const SOCKET_PATH_LIMIT = 103

/** The unprivileged user for servers when the platform runs as root, made on first use; undefined otherwise. */
export function serverUser(userName = USER_NAME): ServerUser | undefined {
  if (process.getuid?.() !== 0) return undefined
  const found = findUser(userName)
  if (found) return found
  try {
    execFileSync(
      'useradd',
      ['--system', '--user-group', '--no-create-home', '--home-dir', '/nonexistent', '--shell', '/usr/sbin/nologin', userName],
      { stdio: 'pipe' },
    )
  } catch (error) {
    throw new EmbeddedError(
      `Database servers do not run as root, and the user '${userName}' could not be made for them. Make it (useradd --system --user-group ${userName}), or start Bloomery as an ordinary user, or set DATABASE_URL.`,
      { cause: error },
    )
  }
  const made = findUser(userName)
  if (!made) throw new EmbeddedError(`The user '${userName}' was made but is not in /etc/passwd.`)
  return made
}

function findUser(name: string): ServerUser | undefined {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((each) => each.startsWith(`${name}:`))
  if (line === undefined) return undefined
  const [, , uid, gid] = line.split(':')
  return { name, uid: Number(uid), gid: Number(gid) }
}

/** True if the user may enter every folder on the way to `path` (which need not exist itself). */
export function isReachable(path: string, user: ServerUser): boolean {
  for (let folder = resolve(path); ; folder = dirname(folder)) {
    if (existsSync(folder)) {
      const { mode, uid, gid } = statSync(folder)
      const bits = uid === user.uid ? mode >> 6 : gid === user.gid ? mode >> 3 : mode
      if ((bits & 1) === 0) return false
    }
    if (dirname(folder) === folder) return true
  }
}

/**
 * The folder of one server, made and owned by its user: `<home>/<name>`, or, where that user cannot enter the home,
 * `/var/lib/bloomery/<installation id>/<name>` with a link to it at `<home>/<name>`.
 */
export function serverFolder(installation: Installation, name: string, user: ServerUser | undefined): string {
  const wanted = join(resolve(installation.home), name)
  mkdirSync(dirname(wanted), { recursive: true })
  if (!user) {
    mkdirSync(wanted, { recursive: true, mode: 0o700 })
    return wanted
  }
  const linked = linkTarget(wanted)
  const folder = linked ?? (isReachable(dirname(wanted), user) ? wanted : join(ROOT_STORAGE, installation.installationId, name))
  mkdirSync(dirname(folder), { recursive: true, mode: 0o711 })
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  chmodSync(folder, 0o700)
  if (statSync(folder).uid !== user.uid) chownTree(folder, user)
  if (folder !== wanted && linked === undefined) {
    if (existsSync(wanted))
      throw new EmbeddedError(
        `${wanted} holds data, but the user '${user.name}' cannot enter it any more. Move it to ${folder}, or make its parent folders enterable (chmod o+x).`,
      )
    symlinkSync(folder, wanted)
  }
  return folder
}

function linkTarget(path: string): string | undefined {
  try {
    return lstatSync(path).isSymbolicLink() ? resolve(dirname(path), readlinkSync(path)) : undefined
  } catch {
    return undefined // nothing there yet
  }
}

/** Gives a folder with all that is in it to the user (data first used by another one); links are not followed. */
export function chownTree(path: string, user: ServerUser): void {
  const stat = lstatSync(path)
  if (stat.isSymbolicLink()) return
  chownSync(path, user.uid, user.gid)
  if (stat.isDirectory()) for (const name of readdirSync(path)) chownTree(join(path, name), user)
}

/**
 * A private folder for a unix socket: `folder` itself while the socket's path fits the system's limit, else a short one
 * under the runtime folder.
 */
export function socketFolder(folder: string, fileName: string, user: ServerUser | undefined): string {
  if (Buffer.byteLength(join(folder, fileName)) <= SOCKET_PATH_LIMIT) {
    makePrivate(folder, user)
    return folder
  }
  const digest = createHash('sha256').update(folder).digest('hex').slice(0, 16)
  const short = join(user ? '/run' : (process.env['XDG_RUNTIME_DIR'] ?? '/tmp'), `bloomery-${digest}`)
  makePrivate(short, user)
  return short
}

function makePrivate(folder: string, user: ServerUser | undefined): void {
  if (!existsSync(folder)) {
    mkdirSync(folder, { mode: 0o700 })
    if (user) chownSync(folder, user.uid, user.gid)
  }
  const stat = lstatSync(folder)
  const owner = user?.uid ?? process.getuid?.() ?? stat.uid
  // Someone else may have made a folder of that name in /tmp before us.
  if (!stat.isDirectory() || stat.uid !== owner || (stat.mode & 0o077) !== 0)
    throw new EmbeddedError(`${folder} is not a private folder of this user; remove it.`)
}
