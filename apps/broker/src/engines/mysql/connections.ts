import type { Connection, Pool, RowDataPacket } from 'mysql2/promise'
import type { Server } from '../../servers/server-host.js'

/** The administrator of every server. */
export const ADMIN = 'bloomery'

/** Loaded with the first server: a platform without such an instance does without. */
const driver = () => import('mysql2/promise')

const optionsOf = (server: Server) => ({
  host: server.host,
  port: server.ports['mysql'] ?? 0,
  user: ADMIN,
  password: server.secret,
  connectTimeout: 10_000,
  charset: 'utf8mb4',
})

export const connectOnce = async (server: Server): Promise<Connection> => (await driver()).createConnection(optionsOf(server))

/** The administrator's connections to each server, closed when they have been idle for a while. */
export class AdminConnections {
  readonly #pools = new Map<string, { readonly pool: Pool; readonly address: string }>()

  async of(server: Server): Promise<Pool> {
    const address = `${server.host}:${server.ports['mysql']}`
    const known = this.#pools.get(server.name)
    if (known?.address === address) return known.pool
    this.forget(server.name)
    const pool = (await driver()).createPool({ ...optionsOf(server), connectionLimit: 4, maxIdle: 0, idleTimeout: 30_000 })
    this.#pools.set(server.name, { pool, address })
    return pool
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

/** Rows of a query; values are escaped, never spliced. */
export async function select<T>(on: Pick<Pool, 'query'>, text: string, values: readonly unknown[] = []): Promise<T[]> {
  const [found] = await on.query<RowDataPacket[]>(text, [...values])
  return found as unknown as T[]
}
