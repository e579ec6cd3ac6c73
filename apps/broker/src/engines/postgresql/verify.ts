import type { Pool } from '@bloomery/database/sql'

/** Rows of every table, counted: what a copy must agree with. */
export async function exactCounts(inside: Pool): Promise<[table: string, rows: number][]> {
  const { rows: tables } = await inside.query<{ name: string }>(
    `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
     WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1`,
  )
  const counts: [string, number][] = []
  for (const { name } of tables) {
    const { rows } = await inside.query<{ count: bigint }>(`SELECT count(*) AS count FROM ${name}`)
    counts.push([name, Number(rows[0]?.count ?? 0)])
  }
  return counts
}
