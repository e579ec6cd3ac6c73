import { type Pool, transaction } from '@bloomery/database/sql'
import { randomBytes } from 'node:crypto'
import { rename, rm, writeFile } from 'node:fs/promises'
import type { Server, ServerHost } from '../../servers/server-host.js'
import { type BindingUser, type Engine, type Grant, type Instance, type Metric, ServiceFault } from '../engine.js'
import { shortName } from '../names.js'
import { serverOf, type SharedServer } from '../placement.js'
import { AdminPools } from './admin-pools.js'
import { allowGrowth, stopGrowth, withoutGrowthStop } from './growth.js'
import { POSTGRESQL, POSTGRESQL_PLANS } from './plans.js'
import { scramVerifier } from './scram.js'
import { exactCounts } from './verify.js'

const SHARED: SharedServer = { memoryMb: 384, diskMb: 20_480 }
const TERMINATE = 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND'

/** Databases with an owner that nobody logs in as, and a user per binding that acts as the owner. */
export class PostgresqlEngine implements Engine {
  readonly offering = POSTGRESQL
  readonly plans = POSTGRESQL_PLANS
  readonly #pools = new AdminPools()

  constructor(private readonly servers: ServerHost) {}

  close(): Promise<void> {
    return this.#pools.close()
  }

  probe() {
    return this.servers.probe('postgresql')
  }

  async provision(instance: Instance, signal: AbortSignal): Promise<void> {
    const server = await this.servers.ensure(specOf(instance))
    signal.throwIfAborted()
    const admin = this.#pools.of(server)
    await closeToOthers(admin)
    await createDatabase(admin, databaseOf(instance), ownerOf(instance))
    await this.#prepareDatabase(server, databaseOf(instance), ownerOf(instance))
  }

  async deprovision(instance: Instance): Promise<void> {
    const { name } = specOf(instance)
    if (instance.plan.style === 'dedicated') {
      this.#pools.forget(name)
      return this.servers.remove(name)
    }
    if (!(await this.servers.find(name))) return
    const admin = this.#pools.of(await this.servers.ensure(specOf(instance)))
    for (const database of [databaseOf(instance), spareOf(instance)])
      await admin.query(`DROP DATABASE IF EXISTS ${database} WITH (FORCE)`)
    for (const user of await membersOf(admin, ownerOf(instance))) await dropUser(admin, user)
    await admin.query(`DROP ROLE IF EXISTS ${ownerOf(instance)}`)
  }

  async bind(instance: Instance, user: BindingUser): Promise<Grant> {
    const server = await this.servers.ensure(specOf(instance))
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
    if (!(await this.servers.find(specOf(instance).name))) return
    const server = await this.servers.ensure(specOf(instance))
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
    this.#pools.forget(specOf(to).name)
    const admin = this.#pools.of(await this.servers.ensure(specOf(to)))
    for (const user of await membersOf(admin, ownerOf(to)))
      await admin.query(`ALTER ROLE ${user} CONNECTION LIMIT ${to.plan.connections}`)
  }

  async copy(from: Instance, to: Instance, signal: AbortSignal): Promise<void> {
    const source = await this.servers.ensure(specOf(from))
    await this.#shut(source, from)
    const file = `${source.folder}/move-${shortName('f', from.guid)}`
    try {
      await this.#dump(source, from, file, signal)
      await this.deprovision(to)
      await this.provision(to, signal)
      const target = await this.servers.ensure(specOf(to))
      // The servers' user may read what lies in its own folders: the file goes to the other server's.
      const arrived = `${target.folder}/move-${shortName('f', from.guid)}`
      await rename(file, arrived)
      try {
        await this.#load(target, databaseOf(to), ownerOf(to), arrived, signal)
      } finally {
        await rm(arrived, { force: true })
      }
      await this.#compare(source, target, databaseOf(from))
    } finally {
      await rm(file, { force: true })
    }
  }

  async reopen(instance: Instance, users: readonly BindingUser[]): Promise<void> {
    for (const user of users) await this.bind(instance, user)
  }

  async size(instance: Instance): Promise<number> {
    const admin = this.#pools.of(await this.servers.ensure(specOf(instance)))
    const { rows } = await admin.query<{ bytes: bigint }>(
      'SELECT pg_database_size(datname) AS bytes FROM pg_database WHERE datname = $1',
      [databaseOf(instance)],
    )
    return Number(rows[0]?.bytes ?? 0)
  }

  async limit(instance: Instance, exceeded: boolean): Promise<void> {
    const server = await this.servers.ensure(specOf(instance))
    const database = databaseOf(instance)
    await this.#pools.inside(server, database, exceeded ? stopGrowth : allowGrowth)
    if (!exceeded) return
    await this.#pools.of(server).query(`${TERMINATE} datname = $1 AND usename <> current_user`, [database])
    await this.#pools.inside(server, database, stopGrowth)
  }

  async backup(instance: Instance, file: string, signal: AbortSignal): Promise<void> {
    await this.#dump(await this.servers.ensure(specOf(instance)), instance, file, signal)
  }

  async restore(instance: Instance, file: string, signal: AbortSignal): Promise<void> {
    const server = await this.servers.ensure(specOf(instance))
    const admin = this.#pools.of(server)
    const [database, spare, owner] = [databaseOf(instance), spareOf(instance), ownerOf(instance)]
    // Beside the present data, which stay as they are if the backup cannot be read.
    await admin.query(`DROP DATABASE IF EXISTS ${spare} WITH (FORCE)`)
    await createDatabase(admin, spare, owner)
    await this.#prepareDatabase(server, spare, owner)
    await this.#load(server, spare, owner, file, signal)
    await admin.query(`DROP DATABASE IF EXISTS ${database} WITH (FORCE)`)
    await admin.query(`ALTER DATABASE ${spare} RENAME TO ${database}`)
  }

  async metrics(instance: Instance): Promise<readonly Metric[]> {
    const { name } = specOf(instance)
    const usage = await this.servers.usage(name)
    if (!usage.running) return []
    const admin = this.#pools.of(await this.servers.ensure(specOf(instance)))
    const { rows } = await admin.query<{ used: bigint }>('SELECT count(*) AS used FROM pg_stat_activity WHERE datname = $1', [
      databaseOf(instance),
    ])
    return [
      { name: 'bloomery_service_data_bytes', help: 'Bytes that the data take.', value: await this.size(instance) },
      { name: 'bloomery_service_connections', help: 'Open connections.', value: Number(rows[0]?.used ?? 0) },
      ...(instance.plan.style === 'dedicated'
        ? [{ name: 'bloomery_service_memory_bytes', help: "Memory of the instance's own server.", value: usage.memoryBytes }]
        : []),
    ]
  }

  async #prepareDatabase(server: Server, database: string, owner: string): Promise<void> {
    await this.#pools.of(server).query(`REVOKE ALL ON DATABASE ${database} FROM PUBLIC`)
    await this.#pools.inside(server, database, async (inside) => {
      // PostgreSQL 14 and before let everybody make tables in it.
      await inside.query('REVOKE CREATE ON SCHEMA public FROM PUBLIC')
      await inside.query(`GRANT ALL ON SCHEMA public TO ${owner}`)
    })
  }

  /** Nobody but the administrator is let in any more. */
  async #shut(server: Server, instance: Instance): Promise<void> {
    const admin = this.#pools.of(server)
    for (const user of await membersOf(admin, ownerOf(instance))) await admin.query(`ALTER ROLE ${user} NOLOGIN`)
    await admin.query(`${TERMINATE} datname = $1`, [databaseOf(instance)])
  }

  async #dump(server: Server, instance: Instance, file: string, signal: AbortSignal): Promise<void> {
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

  async #load(server: Server, database: string, owner: string, file: string, signal: AbortSignal): Promise<void> {
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

  async #compare(source: Server, target: Server, database: string): Promise<void> {
    const [before, after] = await Promise.all(
      [source, target].map((server) => this.#pools.inside(server, database, (inside) => exactCounts(inside))),
    )
    if (JSON.stringify(before) !== JSON.stringify(after))
      throw new ServiceFault(
        'The copy did not hold what the database holds; it was given up, and nothing has changed. Try again.',
      )
  }
}

const specOf = (instance: Pick<Instance, 'guid' | 'plan'>) => serverOf('postgresql', instance, SHARED)
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

function grantOf({ host, ports }: Server, database: string, { username, password }: BindingUser): Grant {
  const port = ports['postgresql'] ?? 0
  const uri = `postgres://${username}:${password}@${host}:${port}/${database}`
  const jdbc = `jdbc:postgresql://${host}:${port}/${database}?user=${username}&password=${password}&sslmode=disable`
  return {
    credentials: {
      uri,
      url: uri,
      jdbcUrl: jdbc,
      jdbcurl: jdbc,
      hostname: host,
      host,
      hosts: [host],
      port,
      username,
      user: username,
      password,
      name: database,
      database,
      dbname: database,
      sslmode: 'disable',
    },
    endpoints: [{ host, ports: [String(port)] }],
  }
}
