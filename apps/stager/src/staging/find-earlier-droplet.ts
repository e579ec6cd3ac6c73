import type { Blobstore } from '@bloomery/blobstore'
import type { ClaimedBuild, EarlierDroplet } from '../builds/build-record.js'
import type { Builds } from '../builds/builds.js'

interface Asked {
  readonly builds: Builds
  readonly blobstore: Pick<Blobstore, 'stat'>
  readonly settingsSha256: string
  /** Checksum of the pushed files; worked out only where there is something to compare it with. */
  readonly bits: () => Promise<string>
}

/**
 * A droplet that staging this build would only make again: same files, same buildpacks, same settings. None for a package that was staged
 * before, for whoever asks twice wants it done.
 */
export async function findEarlierDroplet(
  build: ClaimedBuild,
  { builds, blobstore, settingsSha256, bits }: Asked,
): Promise<EarlierDroplet | undefined> {
  if (build.isRestage) return undefined
  const candidates = await builds.earlierDroplets(build, settingsSha256)
  if (candidates.length === 0) return undefined
  const wanted = await bits()
  const found = candidates.find(({ bitsSha256 }) => bitsSha256 === wanted)
  if (found === undefined || !(await blobstore.stat(found.blobKey))) return undefined
  // Without any start command staging fails, and says so.
  return found.hasProcessTypes || (await builds.hasWebCommand(build.appGuid)) ? found : undefined
}
