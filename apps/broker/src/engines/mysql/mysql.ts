import { join } from 'node:path'
import type { Pool } from 'mysql2/promise'
import { folderBytes } from '../../servers/folder-bytes.js'
import type { Server, ServerHost } from '../../servers/server-host.js'
import type { BindingUser, Grant, Instance } from '../engine.js'
import { shortName } from '../names.js'
import type { SharedServer } from '../placement.js'
import { replaceData } from '../replace-data.js'
import { type RowCounts, SqlEngine, sqlGrant } from '../sql-engine.js'
import { ADMIN, AdminConnections, select } from './connections.js'
import { handOverDefinitions, quoted } from './definers.js'
import { MYSQL, MYSQL_PLANS } from './plans.js'

const SHARED: SharedServer = { memoryMb: 512, diskMb: 20_480 }
/** What is left to users of an instance that has outgrown its plan. */
const READING = 'SELECT, DELETE, DROP, EXECUTE, SHOW VIEW, LOCK TABLES'

const WORTH_RECLAIMING_BYTES = 4 * 1024 * 1024

/** A database per instance, a user per binding with all rights on it and none beside it. */
export class MysqlEngine extends SqlEngine {
  readonly offering = MYSQL
  readonly plans = MYSQL_PLANS
  readonly #connections = new AdminConnections()

  constructor(servers: ServerHost) {
    super(servers, 'mysql', SHARED)
  }

  close(): Promise<void> {
    return this.#connections.close()
  }

  async provision(instance: Instance, signal: AbortSignal): Promise<void> {
    const server = await this.serverOf(instance)
    signal.throwIfAborted()
    await createDatabase(await this.#connections.of(server), instance)
  }

  protected forget(serverName: string): void {
    this.#connections.forget(serverName)
  }

  protected async removeFromShared(server: Server, instance: Instance): Promise<void> {
    const admin = await this.#connections.of(server)
    for (const user of await usersOf(admin, instance)) await dropUser(admin, user)
    await admin.query(`DROP DATABASE IF EXISTS ${databaseOf(instance)}`)
    await admin.query(`DROP USER IF EXISTS '${ownerOf(instance)}'@'localhost'`)
  }

  async bind(instance: Instance, user: BindingUser): Promise<Grant> {
    const server = await this.serverOf(instance)
    const admin = await this.#connections.of(server)
    const account = `'${user.username}'@'%'`
    const limits = `WITH MAX_USER_CONNECTIONS ${instance.plan.connections}`
    await admin.query(`CREATE USER IF NOT EXISTS ${account} IDENTIFIED BY ? ${limits}`, [user.password])
    await admin.query(`ALTER USER ${account} IDENTIFIED BY ? ${limits} ACCOUNT UNLOCK`, [user.password])
    await admin.query(`GRANT ALL PRIVILEGES ON ${databaseOf(instance)}.* TO ${account}`)
    return grantOf(server, databaseOf(instance), user)
  }

  async unbind(instance: Instance, { username }: Pick<BindingUser, 'username'>): Promise<void> {
    const admin = await this.#adminIfThere(instance)
    if (!admin || !(await hasUser(admin, username))) return
    await admin.query(`ALTER USER '${username}'@'%' ACCOUNT LOCK`)
    await endSessions(admin, [username])
    await handOverDefinitions(admin, databaseOf(instance), username, ownerOf(instance))
    await dropUser(admin, username)
  }

  async resize(_from: Instance, to: Instance): Promise<void> {
    this.#connections.forget(this.specOf(to).name)
    const admin = await this.#connections.of(await this.serverOf(to))
    for (const user of await usersOf(admin, to))
      await admin.query(`ALTER USER '${user}'@'%' WITH MAX_USER_CONNECTIONS ${to.plan.connections}`)
  }

  protected async shut(server: Server, instance: Instance): Promise<void> {
    const admin = await this.#connections.of(server)
    const users = await usersOf(admin, instance)
    for (const user of users) await admin.query(`ALTER USER '${user}'@'%' ACCOUNT LOCK`)
    await endSessions(admin, users)
  }

  async size(instance: Instance): Promise<number> {
    const server = await this.servers.find(this.specOf(instance).name)
    return server ? folderBytes(join(server.folder, 'data', databaseOf(instance))) : 0
  }

  async reclaim(instance: Instance): Promise<void> {
    const admin = await this.#adminIfThere(instance)
    if (!admin) return
    const database = databaseOf(instance)
    const tables = await select<{ name: string }>(
      admin,
      `SELECT table_name AS name FROM information_schema.tables WHERE table_schema = ? AND engine = 'InnoDB'
       AND data_free >= ? AND data_free * 4 > data_length + index_length`,
      [database, WORTH_RECLAIMING_BYTES],
    )
    for (const { name } of tables) await admin.query(`OPTIMIZE TABLE ${database}.${quoted(name)}`)
  }

  async limit(instance: Instance, exceeded: boolean): Promise<void> {
    const admin = await this.#adminIfThere(instance)
    if (!admin) return
    const users = await usersOf(admin, instance)
    // The owner too: routines that were handed over to it act with its rights.
    const accounts = [...users.map((user) => `'${user}'@'%'`), `'${ownerOf(instance)}'@'localhost'`]
    for (const account of accounts) {
      if (exceeded) await admin.query(`REVOKE ALL PRIVILEGES ON ${databaseOf(instance)}.* FROM ${account}`)
      await admin.query(`GRANT ${exceeded ? READING : 'ALL PRIVILEGES'} ON ${databaseOf(instance)}.* TO ${account}`)
    }
    // Sessions learn of changed rights with their next USE: end them, and they come again.
    await endSessions(admin, users)
  }

  async restore(instance: Instance, file: string, signal: AbortSignal): Promise<void> {
    const server = await this.serverOf(instance)
    const admin = await this.#connections.of(server)
    // Databases cannot be renamed here.
    await replaceData({
      present: join(server.folder, `before-restore-${shortName('f', instance.guid)}`),
      file,
      dump: (into) => this.dump(server, instance, into, signal),
      load: async (from) => {
        await this.#empty(admin, instance)
        await this.load(server, instance, from, signal)
      },
      signal,
    })
  }

  async #empty(admin: Pool, instance: Instance): Promise<void> {
    await endSessions(admin, await usersOf(admin, instance))
    await admin.query(`DROP DATABASE IF EXISTS ${databaseOf(instance)}`)
    await createDatabase(admin, instance)
  }

  protected async connectionCount(server: Server, instance: Instance): Promise<number> {
    const [connections] = await select<{ used: number }>(
      await this.#connections.of(server),
      'SELECT count(*) AS used FROM information_schema.processlist WHERE db = ?',
      [databaseOf(instance)],
    )
    return connections?.used ?? 0
  }

  protected async rowCounts(server: Server, instance: Instance): Promise<RowCounts> {
    return exactCounts(await this.#connections.of(server), databaseOf(instance))
  }

  async #adminIfThere(instance: Instance): Promise<Pool | undefined> {
    const server = await this.serverIfThere(instance)
    return server && this.#connections.of(server)
  }

  protected async dump(server: Server, instance: Instance, file: string, signal: AbortSignal): Promise<void> {
    const what = ['--single-transaction', '--routines', '--triggers', '--events', '--hex-blob', '--default-character-set=utf8mb4']
    await this.servers.run(server.name, 'dump', [...addressOf(server), ...what, `--result-file=${file}`, databaseOf(instance)], {
      env: { MYSQL_PWD: server.secret },
      signal,
    })
  }

  protected async load(server: Server, instance: Instance, file: string, signal: AbortSignal): Promise<void> {
    const script = `source ${file}`
    const how = ['--batch', '--default-character-set=utf8mb4', `--database=${databaseOf(instance)}`, `--execute=${script}`]
    await this.servers.run(server.name, 'client', [...addressOf(server), ...how], { env: { MYSQL_PWD: server.secret }, signal })
  }
}

const databaseOf = ({ guid }: Pick<Instance, 'guid'>): string => shortName('d', guid)
/** In whose name views and routines go on after their maker has gone; nobody logs in as it. */
const ownerOf = ({ guid }: Pick<Instance, 'guid'>): string => shortName('o', guid)
const addressOf = ({ host, ports }: Server): string[] => [
  '--no-defaults',
  '--protocol=tcp',
  `--host=${host}`,
  `--port=${ports['mysql']}`,
  `--user=${ADMIN}`,
]

async function createDatabase(admin: Pool, instance: Instance): Promise<void> {
  const [database, owner] = [databaseOf(instance), `'${ownerOf(instance)}'@'localhost'`]
  await admin.query(`CREATE DATABASE IF NOT EXISTS ${database} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci`)
  await admin.query(`CREATE USER IF NOT EXISTS ${owner} ACCOUNT LOCK`)
  await admin.query(`GRANT ALL PRIVILEGES ON ${database}.* TO ${owner}`)
}

const usersOf = async (admin: Pool, instance: Instance): Promise<string[]> =>
  (
    await select<{ name: string }>(admin, "SELECT user AS name FROM mysql.db WHERE db = ? AND host = '%'", [databaseOf(instance)])
  ).map(({ name }) => name)

const hasUser = async (admin: Pool, username: string): Promise<boolean> =>
  (await select(admin, "SELECT 1 FROM mysql.user WHERE user = ? AND host = '%'", [username])).length > 0

async function endSessions(admin: Pool, usernames: readonly string[]): Promise<void> {
  if (usernames.length === 0) return
  const sessions = await select<{ id: number }>(admin, 'SELECT id FROM information_schema.processlist WHERE user IN (?)', [
    usernames,
  ])
  for (const { id } of sessions)
    await admin.query(`KILL CONNECTION ${id}`).catch((error: unknown) => {
      // It has ended by itself.
      if ((error as { code?: string }).code !== 'ER_NO_SUCH_THREAD') throw error
    })
}

async function dropUser(admin: Pool, username: string): Promise<void> {
  await admin.query(`DROP USER IF EXISTS '${username}'@'%'`)
  await endSessions(admin, [username])
}

async function exactCounts(admin: Pool, database: string): Promise<[table: string, rows: number][]> {
  const tables = await select<{ name: string }>(
    admin,
    "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = ? AND table_type = 'BASE TABLE' ORDER BY 1",
    [database],
  )
  const counts: [string, number][] = []
  for (const { name } of tables) {
    const [found] = await select<{ count: number }>(admin, `SELECT count(*) AS count FROM ${database}.${quoted(name)}`)
    counts.push([name, found?.count ?? 0])
  }
  return counts
}

const grantOf = ({ host, ports }: Server, database: string, user: BindingUser): Grant =>
  sqlGrant({
    scheme: 'mysql',
    host,
    port: ports['mysql'] ?? 0,
    database,
    user,
    query: '?reconnect=true',
    jdbcQuery: 'useSSL=false&allowPublicKeyRetrieval=true',
    more: { ssl: false },
  })
