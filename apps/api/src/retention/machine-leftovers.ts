import { execute, type Queryable, rows, sql } from '@bloomery/database'

/** What a stager keeps on its machine without need, as that stager has seen it last. */
export interface MachineLeftover {
  readonly machine: string
  /** Below the stager's folder there, or a container's name. */
  readonly path: string
  readonly kind: string
  readonly bytes: number
  /** For people. */
  readonly reason: string
}

export async function listMachineLeftovers(on: Queryable): Promise<MachineLeftover[]> {
  const found = await rows<Omit<MachineLeftover, 'bytes'> & { readonly bytes: bigint }>(
    on,
    sql`SELECT node_id AS machine, path, kind, bytes, reason FROM machine_leftovers ORDER BY node_id, bytes DESC, path`,
  )
  return found.map((each) => ({ ...each, bytes: Number(each.bytes) }))
}

/** Their stagers find the wish within seconds, and remove what is still without need then. */
export async function askForMachineLeftovers(on: Queryable, now: Date): Promise<void> {
  await execute(on, sql`UPDATE machine_leftovers SET asked_at = ${now} WHERE asked_at IS NULL`)
}
