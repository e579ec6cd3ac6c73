import { createClient } from '@redis/client'
import type { Server } from '../../servers/server-host.js'

/** The broker's own user on every server. */
export const ADMIN = 'bloomery'
const PATIENCE_MS = 10_000

/** Runs one command; its answer is as the protocol has it. */
export type RedisCommand = (...words: readonly string[]) => Promise<unknown>

/** Connects as the administrator for the length of the work. */
export async function asAdmin<T>(server: Server, work: (command: RedisCommand) => Promise<T>): Promise<T> {
  const client = createClient({
    username: ADMIN,
    password: server.secret,
    socket: {
      host: server.host,
      port: server.ports['redis'] ?? 0,
      connectTimeout: PATIENCE_MS,
      // What fails is tried again by who asked, with all of its steps.
      reconnectStrategy: false,
    },
    disableOfflineQueue: true,
    RESP: 2,
  })
  // Commands under way are rejected with it.
  client.on('error', () => undefined)
  await client.connect()
  try {
    return await work((...words) => client.sendCommand([...words], { timeout: PATIENCE_MS }))
  } finally {
    client.destroy()
  }
}

/** The fields of an INFO section. */
export function parseInfo(text: unknown): Readonly<Record<string, string>> {
  const lines = String(text)
    .split(/\r?\n/)
    .filter((line) => line.includes(':') && !line.startsWith('#'))
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]))
}
