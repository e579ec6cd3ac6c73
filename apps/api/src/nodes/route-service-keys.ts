import { randomBytes, randomUUID } from 'node:crypto'
import type { RouteServiceKeys as Keys } from '@bloomery/contracts'
import { execute, rows, sql, transaction, type Pool } from '@bloomery/database'
import type { Keyring } from '@bloomery/secrets'

interface Row {
  guid: string
  secret_encrypted: unknown
}
const MINUTE_MS = 60_000
const DAY_MS = 86_400_000

export interface RouteServiceKeyOptions {
  /** A key signs for about this long. @default 30 days */
  readonly rotateAfterMs?: number
  /** A new key is known to routers for so long before it signs. @default 10 min */
  readonly announceForMs?: number
  /** And verifies for so long after the next one came. @default 1 day */
  readonly verifyForMs?: number
}

export const routeServiceKeyContext = (guid: string): string => `route_service_key:${guid}`

/** The keys with which routers sign what they hand to a route service, and by which they know it when it comes back. */
export class RouteServiceKeys {
  readonly #rotateAfterMs: number
  readonly #announceForMs: number
  readonly #verifyForMs: number

  constructor(
    private readonly pool: Pool,
    private readonly keyring: Keyring,
    private readonly now: () => Date,
    options: RouteServiceKeyOptions = {},
  ) {
    this.#rotateAfterMs = options.rotateAfterMs ?? 30 * DAY_MS
    this.#announceForMs = options.announceForMs ?? 10 * MINUTE_MS
    this.#verifyForMs = options.verifyForMs ?? DAY_MS
  }

  /** Makes the first key, or the next one when the newest is old; forgets those that verify no more. Safe at any time from any process. */
  rotate(): Promise<void> {
    const now = this.now()
    return transaction(this.pool, async (tx) => {
      await tx.query(`SELECT pg_advisory_xact_lock(hashtextextended('bloomery:route-service-keys', 0))`)
      await execute(tx, sql`DELETE FROM route_service_keys WHERE expires_at < ${now}`)
      const due = new Date(now.getTime() - this.#rotateAfterMs)
      const [young] = await rows(tx, sql`SELECT 1 FROM route_service_keys WHERE expires_at IS NULL AND created_at > ${due}`)
      if (young) return
      const expiresAt = new Date(now.getTime() + this.#announceForMs + this.#verifyForMs)
      await execute(tx, sql`UPDATE route_service_keys SET expires_at = ${expiresAt} WHERE expires_at IS NULL`)
      const guid = randomUUID()
      const secret = this.keyring.encrypt(randomBytes(32).toString('base64'), routeServiceKeyContext(guid))
      await execute(
        tx,
        sql`INSERT INTO route_service_keys (guid, secret_encrypted, created_at) VALUES (${guid}, ${JSON.stringify(secret)}, ${now})`,
      )
    })
  }

  /** The signing one first. */
  async list(): Promise<Keys> {
    await this.rotate()
    const announced = new Date(this.now().getTime() - this.#announceForMs)
    // The newest that every router knows by now; where there is none yet, the oldest.
    const found = await rows<Row>(
      this.pool,
      sql`SELECT guid, secret_encrypted FROM route_service_keys
          ORDER BY (created_at <= ${announced}) DESC, CASE WHEN created_at <= ${announced} THEN created_at END DESC, created_at ASC`,
    )
    return found.map(({ guid, secret_encrypted }) => ({
      guid,
      key: this.keyring.decrypt(secret_encrypted, routeServiceKeyContext(guid)),
    }))
  }
}
