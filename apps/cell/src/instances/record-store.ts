import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from '@bloomery/telemetry'
import { type InstanceRecord, withoutSecrets } from './instance-record.js'

/** Records of instances, one file each, written whole or not at all. */
export class RecordStore {
  private readonly writes = new Map<string, Promise<void>>()

  constructor(
    private readonly folder: string,
    private readonly log: Logger,
  ) {}

  async readAll(): Promise<InstanceRecord[]> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 })
    const records: InstanceRecord[] = []
    for (const name of await readdir(this.folder)) {
      if (!name.endsWith('.json')) continue
      try {
        records.push(JSON.parse(await readFile(join(this.folder, name), 'utf8')) as InstanceRecord)
      } catch (error) {
        this.log.warn({ err: error, name }, 'a record of an instance cannot be read; its container tells what it was')
      }
    }
    return records
  }

  /** Resolves when it is on disk; saves of one instance follow one another. */
  save(record: InstanceRecord): Promise<void> {
    const text = JSON.stringify(withoutSecrets(record))
    return this.inTurn(record.instanceGuid, async (path) => {
      await writeFile(`${path}.new`, text, { mode: 0o600 })
      await rename(`${path}.new`, path)
    })
  }

  remove(instanceGuid: string): Promise<void> {
    return this.inTurn(instanceGuid, (path) => rm(path, { force: true }))
  }

  private inTurn(instanceGuid: string, write: (path: string) => Promise<void>): Promise<void> {
    const before = this.writes.get(instanceGuid) ?? Promise.resolve()
    const turn = before
      .then(() => write(join(this.folder, `${instanceGuid}.json`)))
      .catch((error: unknown) => this.log.error({ err: error, instanceGuid }, 'the record of an instance could not be written'))
      .finally(() => {
        if (this.writes.get(instanceGuid) === turn) this.writes.delete(instanceGuid)
      })
    this.writes.set(instanceGuid, turn)
    return turn
  }
}
