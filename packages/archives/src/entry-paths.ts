import { posix } from 'node:path'
import { ArchiveError } from './archive-error.js'

const MAX_PATH_BYTES = 4096

/** The entry's path relative to the archive's root, without `./` and trailing slash; '' is the root itself. Throws for whatever leads elsewhere. */
export function safePath(raw: string): string {
  const shown = JSON.stringify(raw.slice(0, 200))
  if (raw.includes('\0')) throw new ArchiveError('unsafe', `The entry ${shown} has a NUL byte in its name.`)
  if (Buffer.byteLength(raw) > MAX_PATH_BYTES) throw new ArchiveError('unsafe', `The entry ${shown}… has too long a name.`)
  if (raw.startsWith('/') || /^[A-Za-z]:[\\/]/.test(raw))
    throw new ArchiveError('unsafe', `The entry ${shown} has an absolute name.`)
  const segments = raw.split('/').filter((segment) => segment !== '' && segment !== '.')
  if (segments.includes('..')) throw new ArchiveError('unsafe', `The entry ${shown} leads out of the archive ('..').`)
  return segments.join('/')
}

/** Throws unless a link at `path` to `target` stays within the archive's root. */
export function checkLinkTarget(path: string, target: string): void {
  const resolved = posix.normalize(posix.join(posix.dirname(path), target))
  if (target === '' || target.includes('\0') || posix.isAbsolute(target) || resolved === '..' || resolved.startsWith('../'))
    throw new ArchiveError('unsafe', `The link '${path}' leads out of the archive (to '${target.slice(0, 200)}').`)
}

/** Remembers which entries are links: nothing may be written beneath one, or else it would land where the link points. */
export class LinkGuard {
  readonly #links = new Set<string>()
  readonly #others = new Set<string>()

  add(path: string, isLink: boolean): void {
    if (isLink) {
      if (this.#others.has(path)) throw new ArchiveError('unsafe', `The entry '${path}' is a link and something else too.`)
      this.#links.add(path)
    } else if (this.#links.has(path)) {
      throw new ArchiveError('unsafe', `The entry '${path}' is a link and something else too.`)
    } else this.#remember(path)
    for (let parent = posix.dirname(path); parent !== '.'; parent = posix.dirname(parent)) {
      if (this.#links.has(parent)) throw new ArchiveError('unsafe', `The entry '${path}' lies beneath the link '${parent}'.`)
      if (this.#others.has(parent)) break
      this.#remember(parent)
    }
  }

  #remember(path: string): void {
    this.#others.add(path)
  }
}
