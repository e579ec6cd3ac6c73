import { type Pool, transaction } from '@bloomery/database/sql'
import { randomBytes } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import type { Server, ServerHost } from '../../servers/server-host.js'
import { type BindingUser, type Grant, type Instance, ServiceFault } from '../engine.js'
import { shortName } from '../names.js'
import type { SharedServer } from '../placement.js'
import { type RowCounts, SqlEngine, sqlGrant } from '../sql-engine.js'
import { AdminPools } from './admin-pools.js'
import { allowGrowth, stopGrowth, withoutGrowthStop } from './growth.js'
import { POSTGRESQL, POSTGRESQL_PLANS } from './plans.js'
import { scramVerifier } from './scram.js'
import { exactCounts } from './verify.js'

const SHARED: SharedServer = { memoryMb: 384, diskMb: 20_480 }
const TERMINATE = 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND'

/** Databases with an owner that nobody logs in as, and a user per binding that acts as the owner. */
export class PostgresqlEngine extends SqlEngine {
  readonly offering = POSTGRESQL
  readonly plans = POSTGRESQL_PLANS
  readonly #pools = new AdminPools()

  constructor(servers: ServerHost) {
    super(servers, 'postgresql', SHARED)
  }

  close(): Promise<void> {
    return this.#pools.close()
  }

  async provision(instance: Instance, signal: AbortSignal): Promise<void> {
    const server = await this.serverOf(instance)
    signal.throwIfAborted()
    const admin = this.#pools.of(server)
    await closeToOthers(admin)
    await createDatabase(admin, databaseOf(instance), ownerOf(instance))
    await this.#prepareDatabase(server, databaseOf(instance), ownerOf(instance))
  }

  protected forget(serverName: string): void {
    this.#pools.forget(serverName)
  }

  protected async removeFromShared(server: Server, instance: Instance): Promise<void> {
    const admin = this.#pools.of(server)
    for (const database of [databaseOf(instance), spareOf(instance)])
      await admin.query(`DROP DATABASE IF EXISTS ${database} WITH (FORCE)`)
    for (const user of await membersOf(admin, ownerOf(instance))) await dropUser(admin, user)
    await admin.query(`DROP ROLE IF EXISTS ${ownerOf(instance)}`)
  }

  async bind(instance: Instance, user: BindingUser): Promise<Grant> {
    const server = await this.serverOf(instance)
    const admin = this.#pools.of(server)
    const owner = ownerOf(instance)
    const { username } = user
    if (!(await hasRole(admin, username))) await admin.query(`CREATE ROLE ${username}`).catch(unlessThere)
    const limit = instance.plan.connections
    await admin.query(`ALTER ROLE ${username} LOGIN CONNECTION LIMIT ${limit} PASSWORD '${scramVerifier(user.password)}'`)
    await admin.query(`GRANT ${owner} TO ${username}`)
    // What it makes belongs to the owner, so that every other binding may change it, and nothing is left when it goes.
    await admin.query(`ALTER ROLE ${username} SET role = ${owner}`)
    return grantOf(server, databaseOf(instance), user)
  }

  async unbind(instance: Instance, { username }: Pick<BindingUser, 'username'>): Promise<void> {
    const server = await this.serverIfThere(instance)
    if (!server) return
    const admin = this.#pools.of(server)
    if (!(await hasRole(admin, username))) return
    await admin.query(`ALTER ROLE ${username} NOLOGIN`)
    await admin.query(`${TERMINATE} usename = $1`, [username])
    if (await hasDatabase(admin, databaseOf(instance)))
      await this.#pools.inside(server, databaseOf(instance), async (inside) => {
        await inside.query(`REASSIGN OWNED BY ${username} TO ${ownerOf(instance)}`)
        await inside.query(`DROP OWNED BY ${username}`)
      })
    await dropUser(admin, username)
  }

  async resize(_from: Instance, to: Instance): Promise<void> {
    this.#pools.forget(this.specOf(to).name)
    const admin = this.#pools.of(await this.serverOf(to))
    for (const user of await membersOf(admin, ownerOf(to)))
      await admin.query(`ALTER ROLE ${user} CONNECTION LIMIT ${to.plan.connections}`)
  }

  async size(instance: Instance): Promise<number> {
    const admin = this.#pools.of(await this.serverOf(instance))
    const { rows } = await admin.query<{ bytes: bigint }>(
      'SELECT pg_database_size(datname) AS bytes FROM pg_database WHERE datname = $1',
      [databaseOf(instance)],
    )
    return Number(rows[0]?.bytes ?? 0)
  }

  async limit(instance: Instance, exceeded: boolean): Promise<void> {
    const server = await this.serverOf(instance)
    const database = databaseOf(instance)
    await this.#pools.inside(server, database, exceeded ? stopGrowth : allowGrowth)
    if (!exceeded) return
    await this.#pools.of(server).query(`${TERMINATE} datname = $1 AND usename <> current_user`, [database])
    await this.#pools.inside(server, database, stopGrowth)
  }

  async restore(instance: Instance, file: string, signal: AbortSignal): Promise<void> {
    const server = await this.serverOf(instance)
    const admin = this.#pools.of(server)
    const [database, spare, owner] = [databaseOf(instance), spareOf(instance), ownerOf(instance)]
    // Beside the present data, which stay as they are if the backup cannot be read.
    await admin.query(`DROP DATABASE IF EXISTS ${spare} WITH (FORCE)`)
    await createDatabase(admin, spare, owner)
    await this.#prepareDatabase(server, spare, owner)
    await this.#loadInto(server, spare, owner, file, signal)
    await admin.query(`DROP DATABASE IF EXISTS ${database} WITH (FORCE)`)
    await admin.query(`ALTER DATABASE ${spare} RENAME TO ${database}`)
  }

  protected async connectionCount(server: Server, instance: Instance): Promise<number> {
    const { rows } = await this.#pools
      .of(server)
      .query<{ used: bigint }>('SELECT count(*) AS used FROM pg_stat_activity WHERE datname = $1', [databaseOf(instance)])
    return Number(rows[0]?.used ?? 0)
  }

  protected rowCounts(server: Server, instance: Instance): Promise<RowCounts> {
    return this.#pools.inside(server, databaseOf(instance), (inside) => exactCounts(inside))
  }

  async #prepareDatabase(server: Server, database: string, owner: string): Promise<void> {
    await this.#pools.of(server).query(`REVOKE ALL ON DATABASE ${database} FROM PUBLIC`)
    await this.#pools.inside(server, database, async (inside) => {
      // PostgreSQL 14 and before let everybody make tables in it.
      await inside.query('REVOKE CREATE ON SCHEMA public FROM PUBLIC')
      await inside.query(`GRANT ALL ON SCHEMA public TO ${owner}`)
    })
  }

  protected async shut(server: Server, instance: Instance): Promise<void> {
    const admin = this.#pools.of(server)
    for (const user of await membersOf(admin, ownerOf(instance))) await admin.query(`ALTER ROLE ${user} NOLOGIN`)
    await admin.query(`${TERMINATE} datname = $1`, [databaseOf(instance)])
  }

  protected async dump(server: Server, instance: Instance, file: string, signal: AbortSignal): Promise<void> {
    const args = ['--format=custom', '--no-owner', '--no-privileges', '--no-password', `--file=${file}`]
    const all = [...args, `--dbname=${databaseOf(instance)}`, ...addressOf(server)]
    try {
      await this.servers.run(server.name, 'pg_dump', all, { env: { PGPASSWORD: server.secret }, signal })
    } catch (error) {
      if (!/server version mismatch/.test(String(error))) throw error
      throw new ServiceFault(
        'The server of this instance is newer than the programs that would back it up or move it. Ask the operator of the platform for ' +
          'those of its version, or copy the data to a new instance.',
        { cause: error },
      )
    }
  }

  protected load(server: Server, instance: Instance, file: string, signal: AbortSignal): Promise<void> {
    return this.#loadInto(server, databaseOf(instance), ownerOf(instance), file, signal)
  }

  async #loadInto(server: Server, database: string, owner: string, file: string, signal: AbortSignal): Promise<void> {
    const list = withoutGrowthStop(await this.servers.run(server.name, 'pg_restore', ['--list', file], { signal }))
    const wanted = `${server.folder}/contents-${randomBytes(6).toString('hex')}`
    // A member of the owner's by way of its rights: what the dump makes belongs to the owner.
    const args = ['--no-owner', '--no-privileges', '--no-password', '--exit-on-error', `--role=${owner}`, `--dbname=${database}`]
    try {
      // Followed nowhere: the folder is the server's.
      await writeFile(wanted, list, { flag: 'wx', mode: 0o644 })
      await this.servers.run(server.name, 'pg_restore', [...args, ...addressOf(server), `--use-list=${wanted}`, file], {
        env: { PGPASSWORD: server.secret },
        signal,
      })
    } finally {
      await rm(wanted, { force: true })
    }
  }
}

const databaseOf = ({ guid }: Pick<Instance, 'guid'>): string => shortName('d', guid)
const spareOf = ({ guid }: Pick<Instance, 'guid'>): string => shortName('n', guid)
const ownerOf = ({ guid }: Pick<Instance, 'guid'>): string => shortName('o', guid)
const addressOf = ({ host, ports }: Server): string[] => [
  `--host=${host}`,
  `--port=${ports['postgresql']}`,
  '--username=bloomery',
]

/** The databases that every server begins with are not for those who are let in for another. */
async function closeToOthers(admin: Pool): Promise<void> {
  const { rows } = await admin.query<{ open: boolean }>("SELECT has_database_privilege('public', 'postgres', 'CONNECT') AS open")
  if (rows[0]?.open === false) return
  // Two at once would hinder each other.
  await transaction(admin, async (tx) => {
    await tx.query("SELECT pg_advisory_xact_lock(hashtextextended('bloomery:close', 0))")
    await tx.query('REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC')
  })
}

async function createDatabase(admin: Pool, database: string, owner: string): Promise<void> {
  if (!(await hasRole(admin, owner))) await admin.query(`CREATE ROLE ${owner} NOLOGIN`).catch(unlessThere)
  if (!(await hasDatabase(admin, database))) await admin.query(`CREATE DATABASE ${database} OWNER ${owner}`).catch(unlessThere)
}

const ALREADY_THERE = new Set(['42710', '42P04', '23505'])
function unlessThere(error: unknown): void {
  if (!ALREADY_THERE.has((error as { code?: string }).code ?? '')) throw error
}

const hasRole = async (admin: Pool, name: string): Promise<boolean> =>
  ((await admin.query('SELECT 1 FROM pg_roles WHERE rolname = $1', [name])).rowCount ?? 0) > 0
const hasDatabase = async (admin: Pool, name: string): Promise<boolean> =>
  ((await admin.query('SELECT 1 FROM pg_database WHERE datname = $1', [name])).rowCount ?? 0) > 0

async function membersOf(admin: Pool, owner: string): Promise<string[]> {
  const { rows } = await admin.query<{ name: string }>(
    `SELECT u.rolname AS name FROM pg_auth_members m JOIN pg_roles o ON o.oid = m.roleid JOIN pg_roles u ON u.oid = m.member
     WHERE o.rolname = $1 AND NOT u.rolsuper`,
    [owner],
  )
  return rows.map(({ name }) => name)
}

/** A session that began before the role was closed may still be there for a moment. */
async function dropUser(admin: Pool, username: string): Promise<void> {
  await admin.query(`${TERMINATE} usename = $1`, [username])
  await admin.query(`DROP ROLE IF EXISTS ${username}`)
}

const grantOf = ({ host, ports }: Server, database: string, user: BindingUser): Grant =>
  sqlGrant({
    scheme: 'postgres',
    host,
    port: ports['postgresql'] ?? 0,
    database,
    user,
    query: '',
    jdbcQuery: 'sslmode=disable',
    more: { dbname: database, sslmode: 'disable' },
  })
