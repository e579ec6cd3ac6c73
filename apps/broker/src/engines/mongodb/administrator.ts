import type { MongoClient } from 'mongodb'
import type { Server } from '../../servers/server-host.js'

/** The user that a server with a key file has from the beginning: it logs in with the key, and may do everything. */
export const ADMINISTRATOR = { username: '__system', database: 'local' } as const
const PATIENCE_MS = 5_000

/** A connection for one piece of work. The driver is loaded with the first server. */
export async function asAdministrator<T>(server: Server, work: (client: MongoClient) => Promise<T>): Promise<T> {
  const { MongoClient } = await import('mongodb')
  const client = new MongoClient(`mongodb://${server.host}:${server.ports['mongodb'] ?? 0}/`, {
    auth: { username: ADMINISTRATOR.username, password: server.secret },
    authSource: ADMINISTRATOR.database,
    directConnection: true,
    retryWrites: false,
    maxPoolSize: 1,
    serverSelectionTimeoutMS: PATIENCE_MS,
    connectTimeoutMS: PATIENCE_MS,
    appName: 'bloomery-broker',
  })
  try {
    return await work(client)
  } finally {
    await client.close()
  }
}

/** Of an error that the server has answered. */
export const codeOf = (error: unknown): number | undefined => {
  const { code } = error as { code?: unknown }
  return typeof code === 'number' ? code : undefined
}
