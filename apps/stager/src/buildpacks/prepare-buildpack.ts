import { createHash } from 'node:crypto'
import type { StagingLog } from '../staging/staging-log.js'
import type { BuildpackStore } from './buildpack-store.js'
import type { ChosenBuildpack } from './choose-buildpacks.js'

/** As the builder is told of a buildpack. */
export interface PlannedBuildpack {
  readonly key: string
  readonly name: string
  /** Where its files are inside. */
  readonly path: string
  /** Where the builder brings them from; absent where they are mounted. */
  readonly url?: string
}

/**
 * A buildpack ready to be mounted from `source` at `entry.path`, below /tmp at `point`; one named by address is brought in by the builder. `writable`:
 * people's own buildpacks may write beside their scripts, as Heroku's do with a file called export; what they write is gone with the staging.
 */
export async function prepareBuildpack(
  store: BuildpackStore,
  chosen: ChosenBuildpack,
  log: StagingLog,
): Promise<{ readonly entry: PlannedBuildpack; readonly point: string; readonly source?: string; readonly writable?: boolean }> {
  const point = `buildpacks/${createHash('md5').update(chosen.key).digest('hex')}`
  const path = `/tmp/${point}`
  if (chosen.kind === 'address') return { entry: { key: chosen.key, name: chosen.key, path, url: chosen.url }, point }
  const { record } = chosen
  log.say(`Downloading ${record.name}...`)
  const source = await store.prepare(record)
  log.say(`Downloaded ${record.name}`)
  return { entry: { key: chosen.key, name: record.name, path }, point, source, writable: !record.system }
}
