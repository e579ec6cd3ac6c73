import { execute, rows, sql, type Pool, type SqlQuery } from '@bloomery/database'

/** How long a worker may be silent before another takes over. */
const LEASE_MS = 15_000

/** A row that this worker holds: whoever has taken it over since has a higher token. */
export interface Claim {
  readonly guid: string
  readonly token: bigint
  /** Called off once the claim is lost. */
  readonly signal: AbortSignal
  release(): void
}

const UNCLAIMED = sql`(claim_expires_at IS NULL OR claim_expires_at < clock_timestamp())`
/** The tables whose rows are claimed so, and which of their rows wait for somebody: due, and held by nobody. */
const TABLES = {
  service_operations: { name: sql`service_operations`, due: sql`(next_run_at <= clock_timestamp() AND ${UNCLAIMED})` },
  orphan_mitigations: {
    name: sql`orphan_mitigations`,
    due: sql`(next_attempt_at <= clock_timestamp() AND given_up_at IS NULL AND ${UNCLAIMED})`,
  },
} as const
type ClaimedTable = keyof typeof TABLES
export const isDue = (table: ClaimedTable): SqlQuery => TABLES[table].due

/**
 * Takes a row that is due, and keeps it while the process lives and reaches the database; undefined where someone was faster, even if
 * that one has done its step and let go of the row since it was looked up.
 */
export async function claim(pool: Pool, table: ClaimedTable, guid: string, owner: string): Promise<Claim | undefined> {
  const { name, due } = TABLES[table]
  const [row] = await rows<{ claim_token: bigint }>(
    pool,
    sql`UPDATE ${name} SET claimed_by = ${owner}, claim_token = claim_token + 1,
          claim_expires_at = clock_timestamp() + ${LEASE_MS} * interval '1 millisecond'
        WHERE guid = ${guid} AND ${due} RETURNING claim_token`,
  )
  if (!row) return undefined
  const { claim_token: token } = row
  const lost = new AbortController()
  let renewedAt = Date.now()
  const renewal = setInterval(() => {
    execute(
      pool,
      sql`UPDATE ${name} SET claim_expires_at = clock_timestamp() + ${LEASE_MS} * interval '1 millisecond'
          WHERE guid = ${guid} AND claim_token = ${token}`,
    ).then(
      (renewed) => {
        if (renewed === 0) lost.abort(new Error(`the claim of ${guid} was lost`))
        else renewedAt = Date.now()
      },
      () => {
        if (Date.now() - renewedAt > LEASE_MS) lost.abort(new Error(`the claim of ${guid} ran out`))
      },
    )
  }, LEASE_MS / 3)
  return { guid, token, signal: lost.signal, release: () => clearInterval(renewal) }
}
