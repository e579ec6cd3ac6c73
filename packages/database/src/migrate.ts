import { createHash, randomUUID } from 'node:crypto'
import { readdirSync, readFileSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { rows, sql, execute, type Pool, type PoolClient } from './pool.js'

/** A database that this build may not touch: changed migrations, or newer ones than it knows. */
export class MigrationError extends Error {
  override readonly name = 'MigrationError'
}

interface Migration {
  readonly name: string
  readonly text: string
  readonly checksum: string
}

/** The migrations in Prisma's folder layout, in order. */
export function readMigrations(folder: string): Migration[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(folder, entry.name, 'migration.sql')))
    .map((entry) => entry.name)
    .sort()
    .map((name) => {
      const text = readFileSync(join(folder, name, 'migration.sql'), 'utf8')
      return { name, text, checksum: createHash('sha256').update(text).digest('hex') }
    })
}

// Prisma's own table, so that `prisma migrate deploy` agrees on machines that have its engine.
const HISTORY = `CREATE TABLE IF NOT EXISTS _prisma_migrations (
  id VARCHAR(36) PRIMARY KEY NOT NULL, checksum VARCHAR(64) NOT NULL, finished_at TIMESTAMPTZ, migration_name VARCHAR(255) NOT NULL,
  logs TEXT, rolled_back_at TIMESTAMPTZ, started_at TIMESTAMPTZ NOT NULL DEFAULT now(), applied_steps_count INTEGER NOT NULL DEFAULT 0)`

/** Applies what is missing, in order, each in a transaction of its own, under an advisory lock. Returns the names applied. */
export async function migrate(pool: Pool, folder: string): Promise<string[]> {
  const client = await pool.connect()
  try {
    await client.query(`SELECT pg_advisory_lock(hashtextextended('bloomery:migrate', 0))`)
    await client.query(HISTORY)
    const known = readMigrations(folder)
    const done = await rows<{ migration_name: string; checksum: string }>(
      client,
      sql`SELECT migration_name, checksum FROM _prisma_migrations WHERE finished_at IS NOT NULL`,
    )
    refuseForeign(known, done)
    const missing = known.filter(({ name }) => !done.some((entry) => entry.migration_name === name))
    for (const migration of missing) await apply(client, migration)
    return missing.map(({ name }) => name)
  } finally {
    await client.query(`SELECT pg_advisory_unlock(hashtextextended('bloomery:migrate', 0))`).catch(() => undefined)
    client.release()
  }
}

/** For roles that do not migrate: true once the database has every migration that this build knows. */
export async function isMigrated(pool: Pool, folder: string): Promise<boolean> {
  try {
    const done = await rows<{ migration_name: string; checksum: string }>(
      pool,
      sql`SELECT migration_name, checksum FROM _prisma_migrations WHERE finished_at IS NOT NULL`,
    )
    const known = readMigrations(folder)
    refuseForeign(known, done)
    return known.every(({ name }) => done.some((entry) => entry.migration_name === name))
  } catch (error) {
    if (error instanceof MigrationError) throw error
    return false
  }
}

function refuseForeign(known: readonly Migration[], done: readonly { migration_name: string; checksum: string }[]): void {
  for (const entry of done) {
    const mine = known.find(({ name }) => name === entry.migration_name)
    if (!mine)
      throw new MigrationError(
        `The database holds '${entry.migration_name}', which this version of Bloomery does not know: it was made by a newer version. Start that version, or restore a backup.`,
      )
    if (mine.checksum !== entry.checksum)
      throw new MigrationError(`The migration '${entry.migration_name}' was changed after it had been applied. Restore its file.`)
  }
}

async function apply(client: PoolClient, migration: Migration): Promise<void> {
  await client.query('BEGIN')
  try {
    await client.query(migration.text)
    await execute(
      client,
      sql`INSERT INTO _prisma_migrations (id, checksum, finished_at, migration_name, applied_steps_count)
          VALUES (${randomUUID()}, ${migration.checksum}, now(), ${migration.name}, 1)`,
    )
    await client.query('COMMIT')
  } catch (error) {
    await client.query('ROLLBACK')
    throw new MigrationError(`The migration '${migration.name}' failed and was rolled back.`, { cause: error })
  }
}
