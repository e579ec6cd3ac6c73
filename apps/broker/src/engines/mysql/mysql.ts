import { rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Pool } from 'mysql2/promise'
import { folderBytes } from '../../servers/folder-bytes.js'
import type { Server, ServerHost } from '../../servers/server-host.js'
import { type BindingUser, type Engine, type Grant, type Instance, type Metric, ServiceFault } from '../engine.js'
import { shortName } from '../names.js'
import { serverOf, type SharedServer } from '../placement.js'
import { replaceData } from '../replace-data.js'
import { ADMIN, AdminConnections, select } from './connections.js'
import { handOverDefinitions, quoted } from './definers.js'
import { MYSQL, MYSQL_PLANS } from './plans.js'

const SHARED: SharedServer = { memoryMb: 512, diskMb: 20_480 }
/** What is left to users of an instance that has outgrown its plan. */
const READING = 'SELECT, DELETE, DROP, EXECUTE, SHOW VIEW, LOCK TABLES'

const WORTH_RECLAIMING_BYTES = 4 * 1024 * 1024

/** A database per instance, a user per binding with all rights on it and none beside it. */
export class MysqlEngine implements Engine {
  readonly offering = MYSQL
  readonly plans = MYSQL_PLANS
  readonly #connections = new AdminConnections()

  constructor(private readonly servers: ServerHost) {}

  close(): Promise<void> {
    return this.#connections.close()
  }

  probe() {
    return this.servers.probe('mysql')
  }

  async provision(instance: Instance, signal: AbortSignal): Promise<void> {
    const server = await this.servers.ensure(specOf(instance))
    signal.throwIfAborted()
    await createDatabase(await this.#connections.of(server), instance)
  }

  async deprovision(instance: Instance): Promise<void> {
    const { name } = specOf(instance)
    if (instance.plan.style === 'dedicated') {
      this.#connections.forget(name)
      return this.servers.remove(name)
    }
    const admin = await this.#adminIfThere(instance)
    if (!admin) return
    for (const user of await usersOf(admin, instance)) await dropUser(admin, user)
    await admin.query(`DROP DATABASE IF EXISTS ${databaseOf(instance)}`)
    await admin.query(`DROP USER IF EXISTS '${ownerOf(instance)}'@'localhost'`)
  }

  async bind(instance: Instance, user: BindingUser): Promise<Grant> {
    const server = await this.servers.ensure(specOf(instance))
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
    this.#connections.forget(specOf(to).name)
    const admin = await this.#connections.of(await this.servers.ensure(specOf(to)))
    for (const user of await usersOf(admin, to))
      await admin.query(`ALTER USER '${user}'@'%' WITH MAX_USER_CONNECTIONS ${to.plan.connections}`)
  }

  async copy(from: Instance, to: Instance, signal: AbortSignal): Promise<void> {
    const source = await this.servers.ensure(specOf(from))
    const before = await this.#connections.of(source)
    const users = await usersOf(before, from)
    for (const user of users) await before.query(`ALTER USER '${user}'@'%' ACCOUNT LOCK`)
    await endSessions(before, users)
    const file = join(source.folder, `move-${shortName('f', from.guid)}`)
    try {
      await this.#dump(source, from, file, signal)
      await this.deprovision(to)
      await this.provision(to, signal)
      const target = await this.servers.ensure(specOf(to))
      const arrived = join(target.folder, `move-${shortName('f', from.guid)}`)
      await rename(file, arrived)
      try {
        await this.#load(target, to, arrived, signal)
      } finally {
        await rm(arrived, { force: true })
      }
      const counts = await Promise.all(
        [before, await this.#connections.of(target)].map((admin) => exactCounts(admin, databaseOf(from))),
      )
      if (JSON.stringify(counts[0]) !== JSON.stringify(counts[1]))
        throw new ServiceFault(
          'The copy did not hold what the database holds; it was given up, and nothing has changed. Try again.',
        )
    } finally {
      await rm(file, { force: true })
    }
  }

  async reopen(instance: Instance, users: readonly BindingUser[]): Promise<void> {
    for (const user of users) await this.bind(instance, user)
  }

  async size(instance: Instance): Promise<number> {
    const server = await this.servers.find(specOf(instance).name)
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

  async backup(instance: Instance, file: string, signal: AbortSignal): Promise<void> {
    await this.#dump(await this.servers.ensure(specOf(instance)), instance, file, signal)
  }

  async restore(instance: Instance, file: string, signal: AbortSignal): Promise<void> {
    const server = await this.servers.ensure(specOf(instance))
    const admin = await this.#connections.of(server)
    // Databases cannot be renamed here.
    await replaceData({
      present: join(server.folder, `before-restore-${shortName('f', instance.guid)}`),
      file,
      dump: (into) => this.#dump(server, instance, into, signal),
      load: async (from) => {
        await this.#empty(admin, instance)
        await this.#load(server, instance, from, signal)
      },
      signal,
    })
  }

  async #empty(admin: Pool, instance: Instance): Promise<void> {
    await endSessions(admin, await usersOf(admin, instance))
    await admin.query(`DROP DATABASE IF EXISTS ${databaseOf(instance)}`)
    await createDatabase(admin, instance)
  }

  async metrics(instance: Instance): Promise<readonly Metric[]> {
    const usage = await this.servers.usage(specOf(instance).name)
    const admin = usage.running ? await this.#adminIfThere(instance) : undefined
    if (!admin) return []
    const [connections] = await select<{ used: number }>(
      admin,
      'SELECT count(*) AS used FROM information_schema.processlist WHERE db = ?',
      [databaseOf(instance)],
    )
    return [
      { name: 'bloomery_service_data_bytes', help: 'Bytes that the data take.', value: await this.size(instance) },
      { name: 'bloomery_service_connections', help: 'Open connections.', value: connections?.used ?? 0 },
      ...(instance.plan.style === 'dedicated'
        ? [{ name: 'bloomery_service_memory_bytes', help: "Memory of the instance's own server.", value: usage.memoryBytes }]
        : []),
    ]
  }

  /** Nothing is started only to take something away that was never there. */
  async #adminIfThere(instance: Instance): Promise<Pool | undefined> {
    if (!(await this.servers.find(specOf(instance).name))) return undefined
    return this.#connections.of(await this.servers.ensure(specOf(instance)))
  }

  async #dump(server: Server, instance: Instance, file: string, signal: AbortSignal): Promise<void> {
    const what = ['--single-transaction', '--routines', '--triggers', '--events', '--hex-blob', '--default-character-set=utf8mb4']
    await this.servers.run(server.name, 'dump', [...addressOf(server), ...what, `--result-file=${file}`, databaseOf(instance)], {
      env: { MYSQL_PWD: server.secret },
      signal,
    })
  }

  async #load(server: Server, instance: Instance, file: string, signal: AbortSignal): Promise<void> {
    const script = `source ${file}`
    const how = ['--batch', '--default-character-set=utf8mb4', `--database=${databaseOf(instance)}`, `--execute=${script}`]
    await this.servers.run(server.name, 'client', [...addressOf(server), ...how], { env: { MYSQL_PWD: server.secret }, signal })
  }
}

const specOf = (instance: Pick<Instance, 'guid' | 'plan'>) => serverOf('mysql', instance, SHARED)
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

function grantOf({ host, ports }: Server, database: string, { username, password }: BindingUser): Grant {
  const port = ports['mysql'] ?? 0
  const uri = `mysql://${username}:${password}@${host}:${port}/${database}?reconnect=true`
  const jdbc = `jdbc:mysql://${host}:${port}/${database}?user=${username}&password=${password}&useSSL=false&allowPublicKeyRetrieval=true`
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
      ssl: false,
    },
    endpoints: [{ host, ports: [String(port)] }],
  }
}
