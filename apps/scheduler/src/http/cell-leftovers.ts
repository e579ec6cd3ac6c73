import { AskDeleted, type DeletedDroplets, TellLeftovers } from '@bloomery/contracts'
import { type Pool, replaceLeftovers, rows, sql } from '@bloomery/database/sql'
import { guarded } from '../leadership/guarded.js'
import type { Leader } from '../loops/leader.js'
import { type InternalRequest, RefusedError } from './internal-api.js'

export interface LeftoverDeps {
  readonly pool: Pool
  /** Throws a RefusedError while another scheduler leads, or none. */
  readonly leader: () => Leader
}

/** What a cell's leftovers are listed under: the machine's stager has a list of its own. */
export const machineOf = (cellId: string): string => `cell:${cellId}`

/** The reference count of unpacked droplets: one that any app still has, current or not, may be started again. */
export async function askDeleted(
  { pool, leader }: LeftoverDeps,
  { peer, body }: InternalRequest,
): Promise<{ json: DeletedDroplets }> {
  const { epoch, sha256s } = await body(AskDeleted)
  leader()
  await requireAgent(pool, peer.nodeId, epoch)
  const deleted = await rows<{ sha256: string }>(
    pool,
    sql`SELECT asked.sha256 FROM unnest(${sha256s}::text[]) AS asked (sha256)
        WHERE NOT EXISTS (SELECT 1 FROM droplets d WHERE d.sha256 = asked.sha256 AND d.state <> 'EXPIRED')`,
  )
  return { json: { sha256s: deleted.map(({ sha256 }) => sha256) } }
}

export async function tellLeftovers({ pool, leader }: LeftoverDeps, { peer, body }: InternalRequest): Promise<undefined> {
  const { epoch, leftovers, tidied } = await body(TellLeftovers)
  const { lease } = leader()
  await requireAgent(pool, peer.nodeId, epoch)
  await guarded(pool, lease, (on) => replaceLeftovers(on, machineOf(peer.nodeId), leftovers, { tidied }))
}

async function requireAgent(pool: Pool, cellId: string, epoch: string): Promise<void> {
  const found = await rows(pool, sql`SELECT 1 FROM cells WHERE id = ${cellId} AND epoch = ${epoch}`)
  if (found.length === 0) throw new RefusedError(409, 'Another agent of this cell has registered since.')
}
