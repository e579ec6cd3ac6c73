import { createHash, randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { createPool, migrate, readMigrations, type Pool } from '@bloomery/database/sql'
import { sharedPostgres } from './shared-servers.js'

const MIGRATIONS = fileURLToPath(new URL('../../../prisma/migrations', import.meta.url))

/** A database of this test file's own; usable from `beforeAll` on. */
export interface TestDatabase {
  readonly url: string
  /** A pool on it, closed after the tests. */
  readonly pool: Pool
}

/**
 * Call at the top of a test file or a describe block: before its tests it makes a database with all migrations applied (a
 * clone of a template, some 50 ms), after them it drops it. `migrated: false` gives an empty one.
 */
export function withPostgres(options: { readonly migrated?: boolean } = {}): TestDatabase {
  let url: string | undefined
  let pool: Pool | undefined
  let drop: (() => Promise<void>) | undefined
  beforeAll(async () => {
    const made = await createTestDatabase(options)
    url = made.url
    drop = made.drop
  }, 90_000)
  afterAll(async () => {
    await pool?.end()
    await drop?.()
  })
  const given = (): string => {
    if (url === undefined) throw new Error('The database is there from beforeAll on.')
    return url
  }
  return {
    get url() {
      return given()
    },
    get pool() {
      pool ??= createPool(given())
      return pool
    },
  }
}

/** The same without jest's hooks. */
export async function createTestDatabase(
  options: { readonly migrated?: boolean } = {},
): Promise<{ url: string; drop: () => Promise<void> }> {
  const server = await sharedPostgres()
  const admin = createPool(server, { max: 1 })
  try {
    const name = `test_${randomBytes(8).toString('hex')}`
    const template = options.migrated === false ? 'template0' : await ensureTemplate(admin, server)
    await admin.query(`CREATE DATABASE ${name} TEMPLATE ${template}`)
    return {
      url: onDatabase(server, name),
      drop: async () => {
        const pool = createPool(server, { max: 1 })
        await pool.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
        await pool.end()
      },
    }
  } finally {
    await admin.end()
  }
}

async function ensureTemplate(admin: Pool, server: string): Promise<string> {
  const digest = createHash('sha256')
  for (const { name, checksum } of readMigrations(MIGRATIONS)) digest.update(`${name}=${checksum}\n`)
  const name = `template_${digest.digest('hex').slice(0, 16)}`
  // One worker makes it, the others wait; cloning under the lock too, since a template may have no other user meanwhile.
  await admin.query(`SELECT pg_advisory_lock(hashtextextended('bloomery:test-template', 0))`)
  const { rowCount } = await admin.query('SELECT 1 FROM pg_database WHERE datname = $1', [name])
  if (rowCount) return name
  const unfinished = `${name}_unfinished`
  await admin.query(`DROP DATABASE IF EXISTS ${unfinished}`)
  await admin.query(`CREATE DATABASE ${unfinished}`)
  const pool = createPool(onDatabase(server, unfinished), { max: 1 })
  try {
    await migrate(pool, MIGRATIONS)
  } finally {
    await pool.end()
  }
  await admin.query(`ALTER DATABASE ${unfinished} RENAME TO ${name}`)
  return name
}

const onDatabase = (url: string, name: string): string => url.replace(/@([^/]*)\/[^?]*/, `@$1/${name}`)
