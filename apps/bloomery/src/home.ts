import { randomBytes, randomUUID } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadKeyring } from '@bloomery/secrets'
import { LaunchError } from './launch-error.js'
import type { Settings } from './settings.js'

/** Raised when the layout of BLOOMERY_HOME changes in a way that earlier versions would misread. */
const DATA_VERSION = 1
const LEAST_FREE_BYTES = 512 * 1024 * 1024

export interface Home {
  readonly installationId: string
  /** True if this start made it. */
  readonly fresh: boolean
  /** The admin's password as it is kept on disk. */
  readonly adminPassword: string
}

/** Makes or checks BLOOMERY_HOME: version, installation id, keyring, the admin's password, folders. */
export function prepareHome(settings: Settings): Home {
  const { paths } = settings
  const fresh = !existsSync(paths.installationId)
  mkdirSync(paths.home, { recursive: true })
  // Enterable, not listable: servers that refuse root have their folders below it.
  chmodSync(paths.home, process.getuid?.() === 0 ? 0o711 : 0o700)
  checkVersion(join(paths.home, 'version'))
  checkSpace(paths.home)
  for (const folder of [paths.run, paths.nodes, paths.roleLogs, paths.blobs, paths.logs, paths.stager, paths.router])
    mkdirSync(folder, { recursive: true, mode: 0o700 })
  mkdirSync(join(paths.run, 'tokens'), { recursive: true, mode: 0o700 })
  mkdirSync(paths.cell, { recursive: true, mode: 0o711 })
  loadKeyring(paths.keyring, { create: true })
  const installationId = readOrMake(paths.installationId, () => randomUUID())
  if (settings.BLOOMERY_ADMIN_PASSWORD !== undefined) writePrivate(paths.adminPassword, settings.BLOOMERY_ADMIN_PASSWORD)
  // A password that begins with a dash would be taken for a flag: `cf auth admin PASSWORD`.
  const adminPassword = readOrMake(paths.adminPassword, () => randomBytes(18).toString('base64url').replace(/^-/, '0'))
  readOrMake(paths.brokerPassword, () => randomBytes(24).toString('base64url'))
  return { installationId, fresh, adminPassword }
}

function checkVersion(path: string): void {
  const found = existsSync(path) ? Number(readFileSync(path, 'utf8').trim()) : DATA_VERSION
  if (found > DATA_VERSION)
    throw new LaunchError(
      `The data folder was written by a newer version of Bloomery (data version ${found}; this one knows ${DATA_VERSION}). Start that version, or set BLOOMERY_HOME to another folder.`,
    )
  if (!existsSync(path)) writeFileSync(path, `${DATA_VERSION}\n`)
}

function checkSpace(home: string): void {
  const { bavail, bsize } = statfsSync(home)
  if (bavail * bsize < LEAST_FREE_BYTES)
    throw new LaunchError(
      `Only ${Math.round((bavail * bsize) / 1_048_576)} MB are free at ${home}; Bloomery needs at least ${LEAST_FREE_BYTES / 1_048_576} MB. Free some, or set BLOOMERY_HOME to a folder on another disk.`,
    )
}

function readOrMake(path: string, make: () => string): string {
  const found = existsSync(path) ? readFileSync(path, 'utf8').trim() : ''
  if (found !== '') return found
  const made = make()
  writePrivate(path, made)
  return made
}

function writePrivate(path: string, text: string): void {
  writeFileSync(`${path}.new`, `${text}\n`, { mode: 0o600 })
  renameSync(`${path}.new`, path)
}
