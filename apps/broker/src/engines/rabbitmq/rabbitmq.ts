import type { Server, ServerHost } from '../../servers/server-host.js'
import { type BindingUser, type Engine, type Grant, type Instance, type Metric, ServiceFault } from '../engine.js'
import { shortName } from '../names.js'
import { serverOf, type SharedServer } from '../placement.js'
import { countsOf, loadContents, readContents, saveContents, writeContents } from './contents.js'
import { ADMIN, isNotFound, Management } from './management.js'
import { RABBITMQ, RABBITMQ_PLANS } from './plans.js'

const SHARED: SharedServer = { memoryMb: 512, diskMb: 8_192 }
const ALL = { configure: '.*', write: '.*', read: '.*' }
/** Of an instance that has outgrown its plan: its messages can be taken, not added to. */
const TAKING = { configure: '', write: '', read: '.*' }

interface Permission {
  readonly user: string
}
interface Queue {
  readonly messages?: number
  readonly message_bytes?: number
}

/** A virtual host per instance, a user per binding with all rights in it and none beside it. */
export class RabbitmqEngine implements Engine {
  readonly offering = RABBITMQ
  readonly plans = RABBITMQ_PLANS

  constructor(private readonly servers: ServerHost) {}

  probe() {
    return this.servers.probe('rabbitmq')
  }

  async provision(instance: Instance, signal: AbortSignal): Promise<void> {
    const server = await this.servers.ensure(specOf(instance))
    signal.throwIfAborted()
    await createVhost(new Management(server), instance)
  }

  async deprovision(instance: Instance): Promise<void> {
    if (instance.plan.style === 'dedicated') return this.servers.remove(specOf(instance).name)
    const admin = await this.#adminIfThere(instance)
    if (!admin) return
    for (const user of await usersOf(admin, instance)) await removeUser(admin, user)
    await admin.delete(`/vhosts/${vhostOf(instance)}`)
  }

  async bind(instance: Instance, user: BindingUser): Promise<Grant> {
    const server = await this.servers.ensure(specOf(instance))
    const admin = new Management(server)
    // "management" shows a user its own virtual host in the web page and the HTTP API, and nothing else.
    await admin.put(`/users/${user.username}`, { password: user.password, tags: 'management' })
    await admin.put(`/permissions/${vhostOf(instance)}/${user.username}`, ALL)
    return grantOf(server, vhostOf(instance), user)
  }

  async unbind(instance: Instance, { username }: Pick<BindingUser, 'username'>): Promise<void> {
    const admin = await this.#adminIfThere(instance)
    if (admin) await removeUser(admin, username)
  }

  async resize(_from: Instance, to: Instance): Promise<void> {
    await createVhost(new Management(await this.servers.ensure(specOf(to))), to)
  }

  async copy(from: Instance, to: Instance, signal: AbortSignal): Promise<void> {
    const source = new Management(await this.servers.ensure(specOf(from)))
    for (const user of await usersOf(source, from)) {
      await source.delete(`/permissions/${vhostOf(from)}/${user}`)
      await endConnections(source, user)
    }
    const contents = await readContents(source, vhostOf(from))
    await this.deprovision(to)
    await this.provision(to, signal)
    const target = new Management(await this.servers.ensure(specOf(to)))
    await writeContents(target, vhostOf(to), contents, signal)
    const arrived = await readContents(target, vhostOf(to))
    if (JSON.stringify(countsOf(contents)) !== JSON.stringify(countsOf(arrived)))
      throw new ServiceFault('The copy did not hold what the queues hold; it was given up, and nothing has changed. Try again.')
  }

  async reopen(instance: Instance, users: readonly BindingUser[]): Promise<void> {
    for (const user of users) await this.bind(instance, user)
  }

  async size(instance: Instance): Promise<number> {
    const admin = await this.#adminIfThere(instance)
    const queues = admin ? await queuesOf(admin, instance) : []
    return queues.reduce((sum, { message_bytes }) => sum + (message_bytes ?? 0), 0)
  }

  async limit(instance: Instance, exceeded: boolean): Promise<void> {
    const admin = await this.#adminIfThere(instance)
    if (!admin) return
    for (const user of await usersOf(admin, instance))
      await admin.put(`/permissions/${vhostOf(instance)}/${user}`, exceeded ? TAKING : ALL)
  }

  async backup(instance: Instance, file: string): Promise<void> {
    const admin = new Management(await this.servers.ensure(specOf(instance)))
    await saveContents(await readContents(admin, vhostOf(instance)), file)
  }

  async restore(instance: Instance, file: string, signal: AbortSignal): Promise<void> {
    const contents = await loadContents(file)
    const admin = new Management(await this.servers.ensure(specOf(instance)))
    const users = await usersOf(admin, instance)
    await admin.delete(`/vhosts/${vhostOf(instance)}`)
    await createVhost(admin, instance)
    for (const user of users) await admin.put(`/permissions/${vhostOf(instance)}/${user}`, ALL)
    await writeContents(admin, vhostOf(instance), contents, signal)
  }

  async metrics(instance: Instance): Promise<readonly Metric[]> {
    const usage = await this.servers.usage(specOf(instance).name)
    const admin = usage.running ? await this.#adminIfThere(instance) : undefined
    if (!admin) return []
    const queues = await queuesOf(admin, instance)
    const connections = await admin.get<unknown[]>(`/vhosts/${vhostOf(instance)}/connections`)
    return [
      { name: 'bloomery_service_data_bytes', help: 'Bytes that the data take.', value: await this.size(instance) },
      { name: 'bloomery_service_connections', help: 'Open connections.', value: connections.length },
      {
        name: 'bloomery_service_messages',
        help: 'Messages in queues.',
        value: queues.reduce((sum, { messages }) => sum + (messages ?? 0), 0),
      },
      ...(instance.plan.style === 'dedicated'
        ? [{ name: 'bloomery_service_memory_bytes', help: "Memory of the instance's own server.", value: usage.memoryBytes }]
        : []),
    ]
  }

  /** Nothing is started only to take something away that was never there. */
  async #adminIfThere(instance: Instance): Promise<Management | undefined> {
    const { name } = specOf(instance)
    return (await this.servers.find(name)) ? new Management(await this.servers.ensure(specOf(instance))) : undefined
  }
}

const specOf = (instance: Pick<Instance, 'guid' | 'plan'>) => serverOf('rabbitmq', instance, SHARED)
const vhostOf = ({ guid }: Pick<Instance, 'guid'>): string => shortName('v', guid)

async function createVhost(admin: Management, instance: Instance): Promise<void> {
  const vhost = vhostOf(instance)
  await admin.put(`/vhosts/${vhost}`, {})
  await admin.put(`/permissions/${vhost}/${ADMIN}`, ALL)
  await admin.put(`/vhost-limits/${vhost}/max-connections`, { value: instance.plan.connections })
}

async function usersOf(admin: Management, instance: Instance): Promise<string[]> {
  const permissions = await admin.get<Permission[]>(`/vhosts/${vhostOf(instance)}/permissions`).catch((error: unknown) => {
    if (isNotFound(error)) return []
    throw error
  })
  return permissions.map(({ user }) => user).filter((user) => user !== ADMIN)
}

async function queuesOf(admin: Management, instance: Instance): Promise<Queue[]> {
  return admin.get<Queue[]>(`/queues/${vhostOf(instance)}?columns=messages,message_bytes`).catch((error: unknown) => {
    if (isNotFound(error)) return []
    throw error
  })
}

async function removeUser(admin: Management, user: string): Promise<void> {
  await admin.delete(`/users/${user}`)
  await endConnections(admin, user)
}

/** The server ends those of a deleted user by itself, a moment later; this does not wait for that. */
async function endConnections(admin: Management, user: string): Promise<void> {
  for (const { name, user: owner } of await admin.get<{ name: string; user?: string }[]>('/connections'))
    if (owner === user) await admin.delete(`/connections/${encodeURIComponent(name)}`)
}

function grantOf({ host, ports }: Server, vhost: string, { username, password }: BindingUser): Grant {
  const [port, management] = [ports['amqp'] ?? 0, ports['management'] ?? 0]
  const uri = `amqp://${username}:${password}@${host}:${port}/${vhost}`
  const api = `http://${username}:${password}@${host}:${management}/api/`
  const amqp = { uri, uris: [uri], host, hosts: [host], port, username, password, vhost, ssl: false }
  return {
    credentials: {
      uri,
      url: uri,
      uris: [uri],
      hostname: host,
      hostnames: [host],
      host,
      hosts: [host],
      port,
      username,
      user: username,
      password,
      vhost,
      ssl: false,
      http_api_uri: api,
      http_api_uris: [api],
      dashboard_url: `http://${host}:${management}/`,
      protocols: {
        amqp,
        management: {
          uri: api,
          uris: [api],
          host,
          hosts: [host],
          port: management,
          username,
          password,
          path: '/api/',
          ssl: false,
        },
      },
    },
    endpoints: [{ host, ports: [String(port), String(management)] }],
  }
}
