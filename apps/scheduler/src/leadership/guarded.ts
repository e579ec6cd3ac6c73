import { guardLease, transaction, type Lease, type Pool, type PoolClient } from '@bloomery/database/sql'

/** Another scheduler leads by now; what was to be written is its business. */
export class LostLeaseError extends Error {
  override readonly name = 'LostLeaseError'
}

/** A transaction that commits only while the lease is held under its token; a take-over waits for the commit. */
export const guarded = <T>(pool: Pool, lease: Lease, write: (on: PoolClient) => Promise<T>): Promise<T> =>
  transaction(pool, async (on) => {
    if (!(await guardLease(on, lease)))
      throw new LostLeaseError(`The lease ${lease.name} (token ${lease.token}) is no longer held.`)
    return write(on)
  })
