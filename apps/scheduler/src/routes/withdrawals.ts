import { execute, rows, sql, type Queryable } from '@bloomery/database/sql'
import type { PublishedAddress } from './route-feed.js'
import type { RouterAcks } from './router-acks.js'

const RESERVED_MS = 10 * 60_000

/** Written before the publication that withdraws them, so that no address can be handed out in between. */
export async function recordWithdrawals(
  on: Queryable,
  withdrawn: readonly PublishedAddress[],
  at: { readonly epoch: bigint; readonly revision: number; readonly now: Date },
): Promise<void> {
  if (withdrawn.length === 0) return
  await execute(
    on,
    sql`INSERT INTO withdrawn_endpoints (cell_id, address, app_guid, feed_epoch, feed_revision, withdrawn_at)
        SELECT x."cellId", x.address, x."appGuid", ${at.epoch}, ${at.revision}, ${at.now}
        FROM jsonb_to_recordset(${JSON.stringify(withdrawn)}::jsonb) AS x("cellId" text, address text, "appGuid" text)
        ON CONFLICT (cell_id, address) DO UPDATE SET app_guid = EXCLUDED.app_guid, feed_epoch = EXCLUDED.feed_epoch,
          feed_revision = EXCLUDED.feed_revision, withdrawn_at = EXCLUDED.withdrawn_at`,
  )
}

export interface WithdrawnAddress {
  readonly cellId: string
  readonly address: string
}

/** The addresses that every router has let go of, and those withdrawn ten minutes ago. */
export async function findReleased(on: Queryable, acks: RouterAcks, now: Date): Promise<WithdrawnAddress[]> {
  const reserved = await rows<WithdrawnAddress & { epoch: bigint; revision: bigint; withdrawnAt: Date }>(
    on,
    sql`SELECT cell_id AS "cellId", address, feed_epoch AS epoch, feed_revision AS revision, withdrawn_at AS "withdrawnAt"
        FROM withdrawn_endpoints`,
  )
  return reserved.filter(
    ({ epoch, revision, withdrawnAt }) =>
      now.getTime() - withdrawnAt.getTime() > RESERVED_MS || acks.isAppliedByAll(epoch, revision),
  )
}

/** They may be given to other apps again. */
export async function releaseAddresses(on: Queryable, free: readonly WithdrawnAddress[]): Promise<void> {
  await execute(
    on,
    sql`DELETE FROM withdrawn_endpoints w
        USING jsonb_to_recordset(${JSON.stringify(free.map(({ cellId, address }) => ({ cellId, address })))}::jsonb) AS x("cellId" text, address text)
        WHERE w.cell_id = x."cellId" AND w.address = x.address`,
  )
}

export const listReserved = (on: Queryable, cellId: string): Promise<{ address: string; appGuid: string }[]> =>
  rows(on, sql`SELECT address, app_guid AS "appGuid" FROM withdrawn_endpoints WHERE cell_id = ${cellId} ORDER BY address`)
