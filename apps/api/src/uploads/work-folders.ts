import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ApiSettings } from '../settings.js'

type Owner = Pick<ApiSettings, 'installationId'>
const prefixOf = ({ installationId }: Owner): string => `bloomery-api-${installationId.replaceAll(/[^\w-]/g, '_')}-`

/** A private folder for as long as the work takes. Its name tells whose it is, so that it can be removed after a crash. */
export async function withWorkFolder<T>(owner: Owner, use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), `${prefixOf(owner)}${process.pid}-`))
  try {
    return await use(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** At the start: removes what processes of this installation left behind that are no more. */
export async function removeLeftWorkFolders(owner: Owner): Promise<void> {
  const prefix = prefixOf(owner)
  for (const name of await readdir(tmpdir())) {
    const pid = name.startsWith(prefix) ? /^(\d+)-/.exec(name.slice(prefix.length))?.[1] : undefined
    if (pid !== undefined && (Number(pid) === process.pid || !isAlive(Number(pid))))
      await rm(join(tmpdir(), name), { recursive: true, force: true })
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}
