import { rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Server, ServerHost, ServerSpec } from '../servers/server-host.js'
import {
  type Availability,
  type BindingUser,
  type Engine,
  type Grant,
  type Instance,
  type Metric,
  type Offering,
  type Plan,
  ServiceFault,
} from './engine.js'
import { shortName } from './names.js'
import { serverOf, type SharedServer } from './placement.js'

/** Rows of every table, in the order of the tables' names. */
export type RowCounts = readonly (readonly [table: string, rows: number])[]

/**
 * What engines with databases and users on SQL servers have in common: a database on the common server or a server of its own, dumps
 * that are backups and go from server to server, figures. What is said to the server is each engine's own.
 */
export abstract class SqlEngine implements Engine {
  abstract readonly offering: Offering
  abstract readonly plans: readonly Plan[]

  constructor(
    protected readonly servers: ServerHost,
    private readonly kind: string,
    private readonly shared: SharedServer,
  ) {}

  abstract close(): Promise<void>
  abstract provision(instance: Instance, signal: AbortSignal): Promise<void>
  abstract bind(instance: Instance, user: BindingUser): Promise<Grant>
  abstract unbind(instance: Instance, user: Pick<BindingUser, 'guid' | 'username'>): Promise<void>
  abstract resize(from: Instance, to: Instance): Promise<void>
  abstract size(instance: Instance): Promise<number>
  abstract limit(instance: Instance, exceeded: boolean): Promise<void>
  abstract restore(instance: Instance, file: string, signal: AbortSignal): Promise<void>

  /** Lets go of the administrator's connections to a server. */
  protected abstract forget(serverName: string): void
  /** Takes database and users off the common server. */
  protected abstract removeFromShared(server: Server, instance: Instance): Promise<void>
  /** Lets nobody but the administrator in any more, and ends all sessions. */
  protected abstract shut(server: Server, instance: Instance): Promise<void>
  protected abstract dump(server: Server, instance: Instance, file: string, signal: AbortSignal): Promise<void>
  /** Into a database that is empty. */
  protected abstract load(server: Server, instance: Instance, file: string, signal: AbortSignal): Promise<void>
  protected abstract rowCounts(server: Server, instance: Instance): Promise<RowCounts>
  protected abstract connectionCount(server: Server, instance: Instance): Promise<number>

  probe(): Promise<Availability> {
    return this.servers.probe(this.kind)
  }

  async deprovision(instance: Instance): Promise<void> {
    const { name } = this.specOf(instance)
    if (instance.plan.style === 'dedicated') {
      this.forget(name)
      return this.servers.remove(name)
    }
    const server = await this.serverIfThere(instance)
    if (server) await this.removeFromShared(server, instance)
  }

  async copy(from: Instance, to: Instance, signal: AbortSignal): Promise<void> {
    const source = await this.serverOf(from)
    await this.shut(source, from)
    const name = `move-${shortName('f', from.guid)}`
    const file = join(source.folder, name)
    try {
      await this.dump(source, from, file, signal)
      await this.deprovision(to)
      await this.provision(to, signal)
      const target = await this.serverOf(to)
      // The servers' user may read what lies in its own folders: the file goes to the other server's.
      const arrived = join(target.folder, name)
      await rename(file, arrived)
      try {
        await this.load(target, to, arrived, signal)
      } finally {
        await rm(arrived, { force: true })
      }
      const [before, after] = await Promise.all([this.rowCounts(source, from), this.rowCounts(target, to)])
      if (JSON.stringify(before) !== JSON.stringify(after))
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

  async backup(instance: Instance, file: string, signal: AbortSignal): Promise<void> {
    await this.dump(await this.serverOf(instance), instance, file, signal)
  }

  async metrics(instance: Instance): Promise<readonly Metric[]> {
    const usage = await this.servers.usage(this.specOf(instance).name)
    if (!usage.running) return []
    const connections = await this.connectionCount(await this.serverOf(instance), instance)
    return [
      { name: 'bloomery_service_data_bytes', help: 'Bytes that the data take.', value: await this.size(instance) },
      { name: 'bloomery_service_connections', help: 'Open connections.', value: connections },
      ...(instance.plan.style === 'dedicated'
        ? [{ name: 'bloomery_service_memory_bytes', help: "Memory of the instance's own server.", value: usage.memoryBytes }]
        : []),
    ]
  }

  protected specOf(instance: Pick<Instance, 'guid' | 'plan'>): ServerSpec {
    return serverOf(this.kind, instance, this.shared)
  }

  /** Found or started. */
  protected serverOf(instance: Instance): Promise<Server> {
    return this.servers.ensure(this.specOf(instance))
  }

  /** Nothing is made only to take something away that was never there. */
  protected async serverIfThere(instance: Instance): Promise<Server | undefined> {
    return (await this.servers.find(this.specOf(instance).name)) && (await this.serverOf(instance))
  }
}

/** Credentials in the spellings that clients of SQL databases look for. */
export function sqlGrant(options: {
  readonly scheme: string
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user: BindingUser
  /** Behind the address for clients, and for JDBC. */
  readonly query: string
  readonly jdbcQuery: string
  readonly more: Readonly<Record<string, unknown>>
}): Grant {
  const { scheme, host, port, database, user } = options
  const { username, password } = user
  const uri = `${scheme}://${username}:${password}@${host}:${port}/${database}${options.query}`
  const driver = scheme === 'postgres' ? 'postgresql' : scheme
  const jdbc = `jdbc:${driver}://${host}:${port}/${database}?user=${username}&password=${password}&${options.jdbcQuery}`
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
      ...options.more,
    },
    endpoints: [{ host, ports: [String(port)] }],
  }
}
