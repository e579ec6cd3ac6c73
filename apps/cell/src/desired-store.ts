import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { CellDesired } from '@bloomery/contracts'
import { CellDesired as CellDesiredSchema } from '@bloomery/contracts'
import type { Logger } from '@bloomery/telemetry'

/** The scheduler's last document on disk, without what is secret in it: environments, files, commands and signed addresses. */
export class DesiredStore {
  private readonly path: string
  private turn: Promise<void> = Promise.resolve()

  constructor(
    folder: string,
    private readonly log: Logger,
  ) {
    this.path = join(folder, 'desired.json')
  }

  async read(): Promise<CellDesired | undefined> {
    const text = await readFile(this.path, 'utf8').catch(() => undefined)
    if (text === undefined) return undefined
    try {
      return CellDesiredSchema.parse(JSON.parse(text))
    } catch (error) {
      this.log.warn({ err: error }, 'the last document of the scheduler cannot be read; the next one takes its place')
      return undefined
    }
  }

  save(desired: CellDesired): Promise<void> {
    const instances = desired.instances.map(({ environment: _secret, files: _secretToo, droplet, spec, ...rest }) => ({
      ...rest,
      spec: { ...spec, command: null },
      droplet: { sha256: droplet.sha256, sizeBytes: droplet.sizeBytes },
    }))
    const text = JSON.stringify({ ...desired, instances })
    this.turn = this.turn
      .then(async () => {
        await writeFile(`${this.path}.new`, text, { mode: 0o600 })
        await rename(`${this.path}.new`, this.path)
      })
      .catch((error: unknown) => this.log.error({ err: error }, "the scheduler's document could not be kept"))
    return this.turn
  }
}
