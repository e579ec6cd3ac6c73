import type { MachineLeftover } from '@bloomery/contracts'
import { execute, type Queryable, rows, sql } from '@bloomery/database'

/** Whoever is there tells at least hourly; a machine that is gone for good takes its leftovers with it. */
const TOLD_HOURS = 2

/** What stagers and cells keep on their machines without need, as they have seen it last. */
export interface ListedLeftover extends MachineLeftover {
  /** The machine's name; `cell:` and its name for what the cell there keeps. */
  readonly machine: string
}

export async function listMachineLeftovers(on: Queryable): Promise<ListedLeftover[]> {
  const found = await rows<Omit<ListedLeftover, 'bytes'> & { readonly bytes: bigint }>(
    on,
    sql`SELECT node_id AS machine, path, kind, bytes, reason FROM machine_leftovers
        WHERE seen_at > now() - ${TOLD_HOURS} * interval '1 hour' ORDER BY node_id, bytes DESC, path`,
  )
  return found.map((each) => ({ ...each, bytes: Number(each.bytes) }))
}

/** Stagers and cells find the wish within seconds, and remove what is still without need then. */
export async function askForMachineLeftovers(on: Queryable, now: Date): Promise<void> {
  await execute(on, sql`UPDATE machine_leftovers SET asked_at = ${now} WHERE asked_at IS NULL`)
}
