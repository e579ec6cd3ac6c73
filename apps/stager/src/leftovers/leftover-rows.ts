import { execute, type Pool, rows, sql, transaction } from '@bloomery/database/sql'
import type { SizedLeftover } from './tidier.js'

/** What the API shows of this machine, and whether an operator has asked for it to go. */
export class LeftoverRows {
  constructor(
    private readonly pool: Pool,
    private readonly nodeId: string,
  ) {}

  async replace(found: readonly SizedLeftover[]): Promise<void> {
    const column = <K extends keyof SizedLeftover>(name: K): SizedLeftover[K][] => found.map((each) => each[name])
    await transaction(this.pool, async (tx) => {
      await execute(tx, sql`DELETE FROM machine_leftovers WHERE node_id = ${this.nodeId}`)
      await execute(
        tx,
        sql`INSERT INTO machine_leftovers (node_id, path, kind, reason, bytes)
            SELECT ${this.nodeId}, each.path, each.kind, each.reason, each.bytes
            FROM unnest(${column('path')}::text[], ${column('kind')}::text[], ${column('reason')}::text[], ${column('bytes')}::bigint[])
              AS each (path, kind, reason, bytes)
            ON CONFLICT DO NOTHING`,
      )
    })
  }

  async isAsked(): Promise<boolean> {
    const found = await rows<{ node_id: string }>(
      this.pool,
      sql`SELECT node_id FROM machine_leftovers WHERE node_id = ${this.nodeId} AND asked_at IS NOT NULL LIMIT 1`,
    )
    return found.length > 0
  }
}
