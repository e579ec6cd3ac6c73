import type { MachineLeftover } from '@bloomery/contracts'
import { execute, type Queryable, rows, sql } from './pool.js'

/**
 * Puts down what a role of one machine keeps there without need, instead of what it said before; in a transaction. An operator's wish for it to
 * go stays, unless it was `tidied` just now.
 */
export async function replaceLeftovers(
  on: Queryable,
  machine: string,
  found: readonly MachineLeftover[],
  { tidied }: { readonly tidied: boolean },
): Promise<void> {
  const before = await rows<{ askedAt: Date | null }>(
    on,
    sql`DELETE FROM machine_leftovers WHERE node_id = ${machine} RETURNING asked_at AS "askedAt"`,
  )
  const asked = tidied ? undefined : before.find(({ askedAt }) => askedAt !== null)?.askedAt
  const column = <K extends keyof MachineLeftover>(name: K): MachineLeftover[K][] => found.map((each) => each[name])
  await execute(
    on,
    sql`INSERT INTO machine_leftovers (node_id, path, kind, reason, bytes, asked_at)
        SELECT ${machine}, each.path, each.kind, each.reason, each.bytes, ${asked ?? null}::timestamptz
        FROM unnest(${column('path')}::text[], ${column('kind')}::text[], ${column('reason')}::text[], ${column('bytes')}::bigint[])
          AS each (path, kind, reason, bytes)
        ON CONFLICT DO NOTHING`,
  )
}

/** Whether an operator wants what this role keeps without need to go. */
export async function areLeftoversAsked(on: Queryable, machine: string): Promise<boolean> {
  const found = await rows(on, sql`SELECT 1 FROM machine_leftovers WHERE node_id = ${machine} AND asked_at IS NOT NULL LIMIT 1`)
  return found.length > 0
}
