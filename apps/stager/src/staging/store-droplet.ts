import { randomUUID } from 'node:crypto'
import { chmod, chown } from 'node:fs/promises'
import { join } from 'node:path'
import type { Blobstore } from '@bloomery/blobstore'
import type { ClaimedBuild, StagedDroplet } from '../builds/build-record.js'
import { stagingError } from './failure.js'
import { shortBytes } from './short-bytes.js'
import type { StagingLog } from './staging-log.js'
import { openUntrusted } from './untrusted-file.js'

/** Takes the archive that a staging has left into the blob store. */
export async function storeDroplet(
  blobstore: Blobstore,
  build: ClaimedBuild,
  log: StagingLog,
  stage: string,
): Promise<Pick<StagedDroplet, 'guid' | 'blobKey' | 'sha256' | 'sizeBytes'>> {
  const path = join(stage, 'droplet.tar.gz')
  const file = await openUntrusted(path)
  if (!file)
    throw stagingError(
      'script-exit',
      'the buildpack ended well but left no droplet',
      'Push again; if it stays so, the buildpack is at fault.',
    )
  await file.close()
  log.say('Uploading droplet, build artifacts cache...')
  log.say('Uploading droplet...')
  if (process.getuid?.() === 0) {
    await chown(path, 0, 0)
    await chmod(path, 0o644)
  }
  const guid = build.dropletGuid ?? randomUUID()
  const blobKey = `droplets/${guid}`
  const stored = await blobstore.putFile(blobKey, path)
  log.say(`Uploaded droplet (${shortBytes(stored.sizeBytes)})`)
  return { guid, blobKey, sha256: stored.sha256, sizeBytes: stored.sizeBytes }
}
