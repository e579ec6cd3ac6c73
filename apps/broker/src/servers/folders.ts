import { chmodSync, chownSync, existsSync, lstatSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { serverFolder, type ServerUser } from '@bloomery/embedded'

/** Where servers and backups lie: `<home>/services`, or, where the servers' user cannot enter the home, below /var/lib. */
export class ServiceFolders {
  /** Of all of it; the servers' user's own. */
  readonly root: string

  constructor(
    installation: { readonly home: string; readonly installationId: string },
    readonly owner: ServerUser | undefined,
  ) {
    this.root = serverFolder(installation, 'services', owner)
  }

  server(name: string): string {
    return join(this.root, 'servers', name)
  }

  /** Made if need be, for the servers' user alone. */
  make(path: string): string {
    if (existsSync(path)) return path
    if (path !== this.root) this.make(dirname(path))
    mkdirSync(path, { recursive: true, mode: 0o700 })
    this.#give(path, 0o700)
    return path
  }

  backups(name: string): string {
    return this.make(join(this.root, 'backups', name))
  }

  /** Whole or not at all. */
  write(path: string, text: string): void {
    this.make(dirname(path))
    const unfinished = `${path}.new`
    // The folder is the server's: whatever lies in the way there is not followed.
    if (lstatSync(unfinished, { throwIfNoEntry: false })?.isSymbolicLink() === true)
      throw new Error(`${unfinished} is a link, and is not written to`)
    writeFileSync(unfinished, text, { mode: 0o600 })
    this.#give(unfinished, 0o600)
    renameSync(unfinished, path)
  }

  #give(path: string, mode: number): void {
    chmodSync(path, mode)
    if (this.owner) chownSync(path, this.owner.uid, this.owner.gid)
  }
}
