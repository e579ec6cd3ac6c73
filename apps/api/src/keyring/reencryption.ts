import { setTimeout as delay } from 'node:timers/promises'
import type { Pool } from '@bloomery/database'
import { BROKER_KEY_USES, type Keyring } from '@bloomery/secrets'
import type { Logger } from '@bloomery/telemetry'
import { ENCRYPTED_COLUMNS, type EncryptedColumn } from './encrypted-columns.js'

const BATCH = 100
/** Between batches, so that users hardly notice. */
const PAUSE_MS = 10
const LOOK_EVERY_MS = 60_000

interface Secret {
  readonly key: string
  readonly secret: unknown
}

/**
 * Brings all secrets under the keyring's current key, a few at a time, while everything is in use. Asks the database each time what is
 * left, so that it may be killed anywhere, and run by several processes at once: each write replaces what was read, or nothing.
 */
export class Reencryption {
  readonly #stop = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> = Promise.resolve()

  constructor(
    private readonly parts: { readonly pool: Pool; readonly keyring: Keyring; readonly log: Logger },
    private readonly columns: readonly EncryptedColumn[] = ENCRYPTED_COLUMNS,
  ) {}

  start(everyMs = LOOK_EVERY_MS): void {
    const look = (): void => {
      this.#running = this.#running.then(async () => {
        await this.run().catch((error: unknown) => {
          if (!this.#stop.signal.aborted)
            this.parts.log.warn({ err: error }, 'secrets could not be encrypted anew yet, will be tried again')
        })
      })
    }
    this.#timer = setInterval(look, everyMs)
    this.#timer.unref()
    look()
  }

  async close(): Promise<void> {
    this.#stop.abort()
    clearInterval(this.#timer)
    await this.#running
  }

  /** One pass over all columns; answers how many secrets were encrypted anew, and how many could not be read. */
  async run(): Promise<{ done: number; unreadable: number }> {
    const sum = { done: 0, unreadable: 0 }
    for (const column of this.columns) {
      const { done, unreadable } = await this.#runColumn(column)
      sum.done += done
      sum.unreadable += unreadable
    }
    if (sum.done > 0)
      this.parts.log.info({ ...sum, key: this.parts.keyring.currentKeyId }, 'secrets encrypted anew under the current key')
    return sum
  }

  /** How many secrets stand under each key, with those of the bundled broker, which encrypts its own anew. */
  async uses(): Promise<Record<string, number>> {
    const { schema, view } = BROKER_KEY_USES
    const brokers = await this.parts.pool.query<{ there: boolean }>('SELECT to_regclass($1) IS NOT NULL AS there', [
      `${schema}.${view}`,
    ])
    const all = this.columns.map(
      ({ table, column }) => `SELECT "${column}"->>'kid' AS kid FROM "${table}" WHERE "${column}" IS NOT NULL`,
    )
    const own = `SELECT kid, count(*)::int AS uses FROM (${all.join(' UNION ALL ')}) AS secrets GROUP BY kid`
    const { rows } = await this.parts.pool.query<{ kid: string; uses: number }>(
      brokers.rows[0]?.there
        ? `SELECT kid, sum(uses)::int AS uses FROM (${own} UNION ALL SELECT kid, secrets FROM ${schema}.${view}) AS counted GROUP BY kid`
        : own,
    )
    return Object.fromEntries(rows.map(({ kid, uses }) => [kid, uses]))
  }

  async #runColumn({ table, key, column, contextOf }: EncryptedColumn): Promise<{ done: number; unreadable: number }> {
    const { pool, keyring, log } = this.parts
    const sum = { done: 0, unreadable: 0 }
    for (let after = ''; !this.#stop.signal.aborted;) {
      const { rows } = await pool.query<Secret>(
        `SELECT "${key}" AS key, "${column}" AS secret FROM "${table}"
         WHERE "${column}" IS NOT NULL AND "${column}"->>'kid' <> $1 AND "${key}" > $2 ORDER BY "${key}" LIMIT ${BATCH}`,
        [keyring.currentKeyId, after],
      )
      for (const row of rows) {
        after = row.key
        const renewed = this.#renew(row, contextOf(row.key), `${table}.${column}`)
        if (renewed === undefined) {
          sum.unreadable++
          continue
        }
        const { rowCount } = await pool.query(
          `UPDATE "${table}" SET "${column}" = $1::jsonb WHERE "${key}" = $2 AND "${column}" = $3::jsonb`,
          [renewed, row.key, JSON.stringify(row.secret)],
        )
        sum.done += rowCount ?? 0
      }
      if (rows.length < BATCH) break
      await delay(PAUSE_MS, undefined, { signal: this.#stop.signal }).catch(() => undefined)
    }
    if (sum.unreadable > 0)
      log.error(
        { column: `${table}.${column}`, unreadable: sum.unreadable },
        'secrets cannot be read: is a key missing from the keyring?',
      )
    return sum
  }

  #renew({ key, secret }: Secret, context: string, column: string): string | undefined {
    const { keyring, log } = this.parts
    try {
      return JSON.stringify(keyring.encrypt(keyring.decrypt(secret, context), context))
    } catch (error) {
      log.debug({ err: error, column, key }, 'a secret cannot be read')
      return undefined
    }
  }
}
