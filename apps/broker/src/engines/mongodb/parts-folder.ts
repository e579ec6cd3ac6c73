import { accessSync, constants, mkdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/**
 * Where the parts of the development server are kept once they are fetched and built: in the user's cache, since they are the same for
 * all installations, as what Maven fetches is; where there is none, in the installation's own folder.
 */
export function partsFolder(home: string): string {
  const cache = join(homedir(), '.cache/bloomery/mongodb-server')
  try {
    mkdirSync(cache, { recursive: true })
    accessSync(cache, constants.W_OK)
    return cache
  } catch {
    return join(home, 'mongodb-server')
  }
}
