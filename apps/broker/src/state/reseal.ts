import { setTimeout as delay } from 'node:timers/promises'
import { execute, type Pool, rows, sql, type SqlQuery } from '@bloomery/database/sql'
import type { Logger } from '@bloomery/telemetry'
import type { Vault } from './vault.js'

const LOOK_EVERY_MS = 30_000

interface Parts {
  readonly pool: Pool
  readonly vault: Vault
  readonly log: Logger
}
interface Found {
  readonly place: string
  readonly secret: unknown
}

/** Every column that holds a secret: where rows stand, and what each is bound to. */
const COLUMNS: readonly {
  readonly table: SqlQuery
  readonly column: SqlQuery
  readonly place: SqlQuery
  readonly context: string
}[] = [
  { table: sql`servers`, column: sql`secret`, place: sql`name`, context: 'server' },
  { table: sql`bindings`, column: sql`password`, place: sql`guid`, context: 'binding' },
  { table: sql`bindings`, column: sql`answer`, place: sql`guid`, context: 'grant' },
]

/** After a rotation of the keyring: brings all secrets under its current key, so that the former one can go. */
export async function keepResealed(parts: Parts, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await reseal(parts).catch((error: unknown) =>
      parts.log.error({ err: error }, 'secrets could not be brought under the current key'),
    )
    await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined)
  }
}

export async function reseal({ pool, vault, log }: Parts): Promise<number> {
  const current = vault.currentKeyId
  let done = 0
  for (const { table, column, place, context } of COLUMNS) {
    const old = await rows<Found>(
      pool,
      sql`SELECT ${place} AS place, ${column} AS secret FROM ${table} WHERE ${column} ->> 'kid' <> ${current}`,
    )
    for (const { place: at, secret } of old) {
      const renewed = JSON.stringify(vault.seal(vault.open(secret, `${context}:${at}`), `${context}:${at}`))
      // One that was written anew meanwhile is under the current key already.
      done += await execute(
        pool,
        sql`UPDATE ${table} SET ${column} = ${renewed} WHERE ${place} = ${at} AND ${column} = ${JSON.stringify(secret)}::jsonb`,
      )
    }
  }
  if (done > 0) log.info({ secrets: done, key: current }, 'secrets were brought under the current key')
  return done
}
