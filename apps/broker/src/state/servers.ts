import { execute, type Queryable, rows, sql } from '@bloomery/database/sql'

export interface ServerRecord {
  readonly name: string
  readonly kind: string
  readonly address: string
  readonly ports: Readonly<Record<string, number>>
  /** Encrypted. */
  readonly secret: unknown
  readonly memoryMb: number
  readonly diskMb: number
  /** Its data are being deleted. */
  readonly removing: boolean
  /** Stopped, because no instance needs it now. */
  readonly resting: boolean
  /** What its data were made by, and are used by ever since: the machine's programs, or an image. */
  readonly source: 'program' | 'container' | null
}

const SERVER = sql`name, kind, address, ports, secret, memory_mb AS "memoryMb", disk_mb AS "diskMb", removing, resting, source`

export const listServers = (on: Queryable): Promise<ServerRecord[]> =>
  rows<ServerRecord>(on, sql`SELECT ${SERVER} FROM servers ORDER BY created_at`)

export async function findServer(on: Queryable, name: string): Promise<ServerRecord | undefined> {
  return (await rows<ServerRecord>(on, sql`SELECT ${SERVER} FROM servers WHERE name = ${name}`))[0]
}

/** Whoever is first makes it; answers what is there. */
export async function addServer(
  on: Queryable,
  server: Omit<ServerRecord, 'removing' | 'resting' | 'source'>,
): Promise<ServerRecord | undefined> {
  await execute(
    on,
    sql`INSERT INTO servers (name, kind, address, ports, secret, memory_mb, disk_mb)
        VALUES (${server.name}, ${server.kind}, ${server.address}, ${JSON.stringify(server.ports)}, ${JSON.stringify(server.secret)},
          ${server.memoryMb}, ${server.diskMb}) ON CONFLICT (name) DO NOTHING`,
  )
  return findServer(on, server.name)
}

export async function setServerLimits(on: Queryable, name: string, limits: { memoryMb: number; diskMb: number }): Promise<void> {
  await execute(on, sql`UPDATE servers SET memory_mb = ${limits.memoryMb}, disk_mb = ${limits.diskMb} WHERE name = ${name}`)
}

export async function setServerAddress(on: Queryable, name: string, address: string): Promise<void> {
  await execute(on, sql`UPDATE servers SET address = ${address} WHERE name = ${name}`)
}

export async function setServerResting(on: Queryable, name: string, resting: boolean): Promise<void> {
  await execute(on, sql`UPDATE servers SET resting = ${resting} WHERE name = ${name} AND resting <> ${resting}`)
}

export async function setServerSource(on: Queryable, name: string, source: 'program' | 'container'): Promise<void> {
  await execute(on, sql`UPDATE servers SET source = ${source} WHERE name = ${name}`)
}

export async function markServerRemoving(on: Queryable, name: string): Promise<void> {
  await execute(on, sql`UPDATE servers SET removing = true WHERE name = ${name}`)
}

export async function deleteServer(on: Queryable, name: string): Promise<void> {
  await execute(on, sql`DELETE FROM servers WHERE name = ${name}`)
}
