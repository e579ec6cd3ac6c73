import { execute, rows, sql, type Pool, type Queryable } from './pool.js'

/** A held lease; `token` goes into every guarded write. */
export interface Lease {
  readonly name: string
  readonly holder: string
  readonly token: bigint
}

/**
 * Takes or renews a lease by the database's clock. A new holder gets a higher token; the same holder keeps its own.
 * undefined: someone else holds it.
 */
export async function acquireLease(on: Queryable, name: string, holder: string, ttlMs: number): Promise<Lease | undefined> {
  const found = await rows<{ token: bigint }>(
    on,
    sql`INSERT INTO leases AS l (name, holder, token, expires_at)
        VALUES (${name}, ${holder}, 1, clock_timestamp() + ${ttlMs} * interval '1 millisecond')
        ON CONFLICT (name) DO UPDATE SET
          holder = EXCLUDED.holder,
          token = CASE WHEN l.holder = EXCLUDED.holder AND l.expires_at > clock_timestamp() THEN l.token ELSE l.token + 1 END,
          expires_at = EXCLUDED.expires_at
        WHERE l.holder = EXCLUDED.holder OR l.expires_at <= clock_timestamp()
        RETURNING token`,
  )
  const token = found[0]?.token
  return token === undefined ? undefined : { name, holder, token }
}

/**
 * Takes a lease whatever its expiry, under a higher token. Only for the holder of the advisory lock of the same name: its earlier
 * holder's connection is gone, and whatever that one still tries fails for its old token.
 */
export async function seizeLease(on: Queryable, name: string, holder: string, ttlMs: number): Promise<Lease> {
  const found = await rows<{ token: bigint }>(
    on,
    sql`INSERT INTO leases AS l (name, holder, token, expires_at)
        VALUES (${name}, ${holder}, 1, clock_timestamp() + ${ttlMs} * interval '1 millisecond')
        ON CONFLICT (name) DO UPDATE SET holder = EXCLUDED.holder, token = l.token + 1, expires_at = EXCLUDED.expires_at
        RETURNING token`,
  )
  return { name, holder, token: found[0]?.token ?? 0n }
}

/** Lets go at once, so that a successor need not wait for the lease to expire. */
export async function releaseLease(on: Queryable, lease: Lease): Promise<void> {
  await execute(
    on,
    sql`UPDATE leases SET expires_at = clock_timestamp() WHERE name = ${lease.name} AND token = ${lease.token} AND holder = ${lease.holder}`,
  )
}

/** True while the lease is held under this token; use inside the writing transaction: it holds off a take-over until commit. */
export async function guardLease(on: Queryable, lease: Lease): Promise<boolean> {
  const found = await rows(
    on,
    sql`SELECT 1 FROM leases WHERE name = ${lease.name} AND token = ${lease.token} AND holder = ${lease.holder} AND expires_at > clock_timestamp() FOR SHARE`,
  )
  return found.length === 1
}

/**
 * An advisory lock on a connection of its own: freed the moment the holder's connection ends, so a successor takes over in
 * milliseconds, while the lease row carries the token. Resolves with a release function, or undefined where it is held.
 */
export async function tryAdvisoryLock(
  pool: Pool,
  name: string,
): Promise<{ release: () => Promise<void>; lost: Promise<void> } | undefined> {
  const client = await pool.connect()
  const found = await rows<{ locked: boolean }>(
    client,
    sql`SELECT pg_try_advisory_lock(hashtextextended(${name}, 0)) AS locked`,
  ).catch((error: unknown) => {
    client.release(true)
    throw error
  })
  if (!found[0]?.locked) {
    client.release()
    return undefined
  }
  let released = false
  const lost = new Promise<void>((resolve) => {
    client.once('error', () => resolve())
    client.once('end', () => resolve())
  })
  return {
    lost,
    release: () => {
      if (!released) client.release(true)
      released = true
      return Promise.resolve()
    },
  }
}
