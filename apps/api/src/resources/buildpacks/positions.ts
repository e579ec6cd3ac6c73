import type { Transaction } from '@bloomery/database'

/** Buildpacks are asked in the order of their positions, 1 to n without gaps; whoever changes one holds this until the end. */
export async function lockPositions(tx: Transaction): Promise<void> {
  await tx.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended('bloomery:buildpacks', 0))`
}

/** Moves a buildpack (to the end when the position lies beyond it) and numbers all anew. Without a position only gaps are closed. */
export async function renumber(tx: Transaction, moved?: { readonly guid: string; readonly position: number }): Promise<void> {
  const all = await tx.buildpack.findMany({
    orderBy: [{ position: 'asc' }, { createdAt: 'asc' }, { guid: 'asc' }],
    select: { guid: true, position: true },
  })
  const order = all.filter(({ guid }) => guid !== moved?.guid)
  const own = all.find(({ guid }) => guid === moved?.guid)
  if (moved && own) order.splice(moved.position - 1, 0, own)
  for (const [index, { guid, position }] of order.entries())
    if (position !== index + 1) await tx.buildpack.update({ where: { guid }, data: { position: index + 1 } })
}
