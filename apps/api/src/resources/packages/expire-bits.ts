import type { Context } from '../../http/context.js'
import { dropletsInUse } from '../droplets/droplets-in-use.js'

/** How many packages and droplets of an app keep their bits, beside those in use: enough to go back a few pushes. */
const KEPT = 5

/** Lets go of the bits of older packages and droplets, whose rows stay as EXPIRED. May be run again. */
export async function expireBits({ db, blobstore }: Pick<Context, 'db' | 'blobstore'>, appGuid: string): Promise<void> {
  const orderBy = [{ createdAt: 'desc' as const }, { guid: 'asc' as const }]
  const inUse = await dropletsInUse(db, appGuid)
  const withBits = { appGuid, blobKey: { not: null } }
  const droplets = await db.droplet.findMany({ where: { ...withBits, state: 'STAGED' }, orderBy })
  const packages = await db.package.findMany({ where: { ...withBits, state: 'READY' }, orderBy })
  // First nobody can begin to use it, then it goes.
  for (const { guid, blobKey } of droplets.slice(KEPT).filter((each) => !inUse.has(each.guid))) {
    const { count } = await db.droplet.updateMany({
      where: { guid, state: 'STAGED', currentOf: { none: {} } },
      data: { state: 'EXPIRED' },
    })
    if (count === 0) continue
    if (blobKey !== null) await blobstore.delete(blobKey)
    await db.droplet.updateMany({ where: { guid, state: 'EXPIRED' }, data: { blobKey: null } })
  }
  const staging = await db.build.findMany({ where: { appGuid, state: 'STAGING' }, select: { packageGuid: true } })
  const busy = new Set(staging.map(({ packageGuid }) => packageGuid))
  for (const { guid, blobKey } of packages.slice(KEPT).filter((each) => !busy.has(each.guid))) {
    await db.package.updateMany({ where: { guid, state: 'READY' }, data: { state: 'EXPIRED' } })
    if (blobKey !== null) await blobstore.delete(blobKey)
    await db.package.updateMany({ where: { guid, state: 'EXPIRED' }, data: { blobKey: null } })
  }
}
