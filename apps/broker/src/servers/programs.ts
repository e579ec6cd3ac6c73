import { accessSync, constants, existsSync, readdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'

const USUAL = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']

/** The first folder that has the program: those given, PATH, the usual ones. */
export function findProgram(name: string, folders: readonly string[] = []): string | undefined {
  const path = (process.env['PATH'] ?? '').split(delimiter).filter(Boolean)
  return [...folders, ...path, ...USUAL].map((folder) => join(folder, name)).find(isProgram)
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Folders like `/usr/lib/postgresql/<version>/bin`, the newest version first. */
export function versionFolders(parent: string, below: string): string[] {
  if (!existsSync(parent)) return []
  return readdirSync(parent)
    .filter((name) => /^\d/.test(name))
    .sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
    .map((version) => join(parent, version, below))
}

/** All of these programs by name, or undefined if one is missing. `optional` ones may be. */
export function findPrograms(
  needed: readonly string[],
  optional: readonly string[] = [],
  folders: readonly string[] = [],
): Record<string, string> | undefined {
  const found: Record<string, string> = {}
  for (const name of [...needed, ...optional]) {
    const path = findProgram(name, folders)
    if (path !== undefined) found[name] = path
    else if (needed.includes(name)) return undefined
  }
  return found
}

/** Programs that an image has in its PATH. */
export const inImage = (names: readonly string[]): Record<string, string> => Object.fromEntries(names.map((name) => [name, name]))
