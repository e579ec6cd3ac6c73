import type { Pool, PoolConnection } from 'mysql2/promise'
import { select } from './connections.js'

interface Thing {
  readonly kind: 'TRIGGER' | 'PROCEDURE' | 'FUNCTION' | 'EVENT' | 'VIEW'
  readonly name: string
}

/**
 * Views, triggers and routines act with the rights of whoever made them, and fail once that user is gone: those of a user that is about
 * to go are made anew in the name of the database's owner, whom nobody logs in as.
 */
export async function handOverDefinitions(admin: Pool, database: string, from: string, owner: string): Promise<void> {
  const definer = `${from}@%`
  const things = await select<Thing>(
    admin,
    `SELECT 'VIEW' AS kind, table_name AS name FROM information_schema.views WHERE table_schema = ? AND definer = ?
     UNION ALL SELECT 'TRIGGER', trigger_name FROM information_schema.triggers WHERE trigger_schema = ? AND definer = ?
     UNION ALL SELECT routine_type, routine_name FROM information_schema.routines WHERE routine_schema = ? AND definer = ?
     UNION ALL SELECT 'EVENT', event_name FROM information_schema.events WHERE event_schema = ? AND definer = ?`,
    Array.from({ length: 4 }, () => [database, definer]).flat(),
  )
  if (things.length === 0) return
  const connection = await admin.getConnection()
  try {
    await connection.query('SET @mode_before = @@SESSION.sql_mode')
    await connection.query(`USE ${quoted(database)}`)
    for (const thing of things) await handOver(connection, thing, from, owner)
    await connection.query('SET SESSION sql_mode = @mode_before')
  } finally {
    connection.release()
  }
}

async function handOver(connection: PoolConnection, { kind, name }: Thing, from: string, owner: string): Promise<void> {
  const [row] = await select<Record<string, string>>(connection, `SHOW CREATE ${kind} ${quoted(name)}`)
  const statement = Object.entries(row ?? {}).find(([column]) => /^(Create |SQL Original)/i.test(column))?.[1]
  if (row === undefined || statement === undefined) return
  const changed = statement.replace(`DEFINER=\`${from}\`@\`%\``, `DEFINER=\`${owner}\`@\`localhost\``)
  if (row['sql_mode'] !== undefined) await connection.query('SET SESSION sql_mode = ?', [row['sql_mode']])
  await connection.query(`DROP ${kind} IF EXISTS ${quoted(name)}`)
  await connection.query(changed)
}

/** An identifier as MySQL reads it. */
export const quoted = (name: string): string => `\`${name.replaceAll('`', '``')}\``
