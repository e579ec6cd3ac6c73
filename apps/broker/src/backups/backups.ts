import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Pool } from '@bloomery/database/sql'
import { shortName } from '../engines/names.js'
import { listBackups } from '../state/instances.js'
import type { InstanceRecord } from '../state/records.js'

/** Where backups lie: a folder per instance, of which servers' users may write. */
export class Backups {
  constructor(
    private readonly pool: Pool,
    /** Makes the folder of this name, and answers its path. */
    private readonly folder: (name: string) => Promise<string>,
  ) {}

  async file(instanceGuid: string, backupId: string): Promise<string> {
    return join(await this.folder(shortName('i', instanceGuid)), backupId)
  }

  /** Removes what is beyond the number to keep, the one just made included; answers their ids. */
  async removeOldest({ guid, keepBackups }: Pick<InstanceRecord, 'guid' | 'keepBackups'>, newest: string): Promise<string[]> {
    const made = (await listBackups(this.pool, guid)).filter(({ id, state }) => state === 'made' && id !== newest)
    const superfluous = made.slice(keepBackups - 1).map(({ id }) => id)
    for (const id of superfluous) await rm(await this.file(guid, id), { force: true })
    return superfluous
  }

  async removeAll(instanceGuid: string): Promise<void> {
    await rm(await this.folder(shortName('i', instanceGuid)), { recursive: true, force: true })
  }
}

/** Sorts by time, and is short enough to be typed: `20261121-183005-x7fq`. */
export function newBackupId(now: Date): string {
  const [day = '', time = ''] = now.toISOString().replaceAll(/[-:]/g, '').split('T')
  return `${day}-${time.slice(0, 6)}-${Math.random().toString(36).slice(2, 6).padEnd(4, '0')}`
}
