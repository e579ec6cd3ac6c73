import type { Pool } from '@bloomery/database/sql'
import type { Server } from '../../servers/server-host.js'
import { adminPool } from './software.js'

/** The administrator's connections to each server, closed when they have been idle for a while. */
export class AdminPools {
  readonly #pools = new Map<string, { readonly pool: Pool; readonly address: string }>()

  of(server: Server): Pool {
    const address = `${server.host}:${server.ports['postgresql']}`
    const known = this.#pools.get(server.name)
    if (known?.address === address) return known.pool
    this.forget(server.name)
    const pool = adminPool(server, 'postgres', 4)
    this.#pools.set(server.name, { pool, address })
    return pool
  }

  /** One connection to another database of the server. */
  async inside<T>(server: Server, database: string, work: (inside: Pool) => Promise<T>): Promise<T> {
    const pool = adminPool(server, database, 1)
    try {
      return await work(pool)
    } finally {
      await pool.end()
    }
  }

  forget(name: string): void {
    const known = this.#pools.get(name)
    this.#pools.delete(name)
    known?.pool.end().catch(() => undefined)
  }

  async close(): Promise<void> {
    const pools = [...this.#pools.values()]
    this.#pools.clear()
    await Promise.allSettled(pools.map(({ pool }) => pool.end()))
  }
}
