import { cpus } from 'node:os'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Db } from 'mongodb'
import { startsWith } from '../../servers/hand-over.js'
import type { Server, ServerHost } from '../../servers/server-host.js'
import { type Availability, type BindingUser, type Grant, type Instance, type Metric, ServiceFault } from '../engine.js'
import { shortName } from '../names.js'
import { serverOf } from '../placement.js'
import { replaceData } from '../replace-data.js'
import { ADMINISTRATOR, asAdministrator, codeOf } from './administrator.js'
import { databaseOf } from './development-software.js'
import { grantOf } from './grant.js'
import { MONGOD_KIND, TOOLS_FILE } from './mongod-software.js'
import type { MongodbKind } from './mongodb.js'
import { MONGOD_PLANS } from './plans.js'

const USER_NOT_FOUND = 11
const USER_EXISTS = 51_003
const ROLE_EXISTS = 51_002
/** What is left to users of an instance that has outgrown its plan. */
const READING_ROLE = 'readingAndDeleting'
const READING = [
  'find',
  'remove',
  'dropCollection',
  'dropIndex',
  'dropDatabase',
  'listCollections',
  'listIndexes',
  'collStats',
  'dbStats',
  'compact',
  'killCursors',
]
const GZIP = '\x1f\x8b'

/** A server of MongoDB itself per instance, with a user per binding that may use its database and nothing else. */
export class MongodServers implements MongodbKind {
  readonly plans = MONGOD_PLANS

  constructor(private readonly servers: ServerHost) {}

  async probe(): Promise<Availability> {
    const found = await this.servers.probe(MONGOD_KIND)
    if (!found.available || (await canRunMongod())) return found
    return {
      available: false,
      reason: `this machine's processor (${cpus()[0]?.model ?? 'unknown'}) lacks AVX, which MongoDB needs`,
      remedy: 'another machine for MongoDB itself',
    }
  }

  async provision(instance: Instance): Promise<void> {
    await this.servers.ensure(specOf(instance))
  }

  deprovision(instance: Instance): Promise<void> {
    return this.servers.remove(specOf(instance).name)
  }

  async bind(instance: Instance, user: BindingUser): Promise<Grant> {
    const server = await this.servers.ensure(specOf(instance))
    const database = databaseOf(server.name)
    await asAdministrator(server, async (client) => {
      const db = client.db(database)
      const wanted = { pwd: user.password, roles: rolesIn(database) }
      await db.command({ createUser: user.username, ...wanted }).catch(async (error: unknown) => {
        if (codeOf(error) !== USER_EXISTS) throw error
        await db.command({ updateUser: user.username, ...wanted })
      })
    })
    // A replica set whose one member has another name inside: it is not to be looked for.
    return grantOf(server, database, user, 'directConnection=true')
  }

  async unbind(instance: Instance, { username }: Pick<BindingUser, 'username'>): Promise<void> {
    if (!(await this.servers.find(specOf(instance).name))) return
    const server = await this.servers.ensure(specOf(instance))
    const database = databaseOf(server.name)
    await asAdministrator(server, async (client) => {
      await client
        .db(database)
        .command({ dropUser: username })
        .catch((error: unknown) => {
          if (codeOf(error) !== USER_NOT_FOUND) throw error
        })
      // What it had begun ends; its connections have no rights any more.
      await client.db('admin').command({ killAllSessions: [{ user: username, db: database }] })
    })
  }

  async resize(_from: Instance, to: Instance): Promise<void> {
    await this.limit(to, false)
  }

  async reopen(instance: Instance, users: readonly BindingUser[]): Promise<void> {
    for (const user of users) await this.bind(instance, user)
  }

  async size(instance: Instance): Promise<number> {
    return this.#inside(instance, async (db) => {
      const { totalSize = 0, totalFreeStorageSize = 0 } = (await db.command({ dbStats: 1, freeStorage: 1 })) as Stats
      return totalSize - totalFreeStorageSize
    })
  }

  async limit(instance: Instance, exceeded: boolean): Promise<void> {
    await this.#inside(instance, async (db) => {
      if (exceeded) await defineReading(db)
      const roles = exceeded ? [{ role: READING_ROLE, db: db.databaseName }] : rolesIn(db.databaseName)
      const { users } = (await db.command({ usersInfo: 1 })) as { users: readonly { readonly user: string }[] }
      for (const { user } of users) await db.command({ updateUser: user, roles })
    })
  }

  async backup(instance: Instance, file: string, signal: AbortSignal): Promise<void> {
    await this.#dump(await this.servers.ensure(specOf(instance)), file, signal)
  }

  async restore(instance: Instance, file: string, signal: AbortSignal): Promise<void> {
    const server = await this.servers.ensure(specOf(instance))
    if (!(await startsWith(file, GZIP)))
      throw new ServiceFault('The backup cannot be restored: it is not one of this kind of server.')
    await replaceData({
      present: join(server.folder, `before-restore-${shortName('f', instance.guid)}`),
      file,
      dump: (into) => this.#dump(server, into, signal),
      load: (from) => this.#load(server, from, signal),
      signal,
    })
  }

  async metrics(instance: Instance): Promise<readonly Metric[]> {
    const usage = await this.servers.usage(specOf(instance).name)
    if (!usage.running) return []
    const { connections } = (await this.#inside(instance, (db) => db.command({ serverStatus: 1 }))) as {
      connections?: { current?: number }
    }
    return [
      { name: 'bloomery_service_data_bytes', help: 'Bytes that the data take.', value: await this.size(instance) },
      { name: 'bloomery_service_connections', help: 'Open connections.', value: connections?.current ?? 0 },
      { name: 'bloomery_service_memory_bytes', help: "Memory of the instance's own server.", value: usage.memoryBytes },
    ]
  }

  async #inside<T>(instance: Instance, work: (db: Db) => Promise<T>): Promise<T> {
    const server = await this.servers.ensure(specOf(instance))
    return asAdministrator(server, (client) => work(client.db(databaseOf(server.name))))
  }

  async #dump(server: Server, file: string, signal: AbortSignal): Promise<void> {
    const what = [`--db=${databaseOf(server.name)}`, `--archive=${file}`, '--gzip', '--quiet']
    await this.servers.run(server.name, 'mongodump', [...addressOf(server), ...what], { signal })
  }

  async #load(server: Server, file: string, signal: AbortSignal): Promise<void> {
    const database = databaseOf(server.name)
    await asAdministrator(server, (client) => client.db(database).dropDatabase())
    const what = [`--nsInclude=${database}.*`, `--archive=${file}`, '--gzip', '--stopOnError', '--quiet']
    await this.servers.run(server.name, 'mongorestore', [...addressOf(server), ...what], { signal })
  }
}

interface Stats {
  readonly totalSize?: number
  readonly totalFreeStorageSize?: number
}

const specOf = (instance: Pick<Instance, 'guid' | 'plan'>) => serverOf(MONGOD_KIND, instance, { memoryMb: 0, diskMb: 0 })
/** Not those that would let it make users, who would outlive it. */
const rolesIn = (db: string) => ['readWrite', 'dbAdmin'].map((role) => ({ role, db }))

async function defineReading(db: Db): Promise<void> {
  const definition = { privileges: [{ resource: { db: db.databaseName, collection: '' }, actions: READING }], roles: [] }
  await db.command({ createRole: READING_ROLE, ...definition }).catch(async (error: unknown) => {
    if (codeOf(error) !== ROLE_EXISTS) throw error
    await db.command({ updateRole: READING_ROLE, ...definition })
  })
}

const addressOf = ({ folder, host, ports }: Server): string[] => [
  `--config=${join(folder, TOOLS_FILE)}`,
  `--host=${host}`,
  `--port=${ports['mongodb'] ?? 0}`,
  `--username=${ADMINISTRATOR.username}`,
  `--authenticationDatabase=${ADMINISTRATOR.database}`,
]

/** MongoDB's own builds for x86 end at once without these instructions. */
async function canRunMongod(): Promise<boolean> {
  if (process.platform !== 'linux' || process.arch !== 'x64') return true
  const flags = await readFile('/proc/cpuinfo', 'utf8').catch(() => undefined)
  return flags === undefined || /^flags\s*:.*\bavx\b/m.test(flags)
}
