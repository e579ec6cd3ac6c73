import { createHash } from 'node:crypto'
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { copyFileOver, startsWith } from '../../servers/hand-over.js'
import type { Server, ServerHost } from '../../servers/server-host.js'
import { type BindingUser, type Engine, type Grant, type Instance, type Metric, ServiceFault } from '../engine.js'
import { serverOf } from '../placement.js'
import { ADMIN, asAdmin, parseInfo, type RedisCommand } from './admin.js'
import { maxmemoryMb, REDIS, REDIS_PLANS } from './plans.js'
import { BACKUP_NAME, DATA_FOLDER, RESTORE_FILE } from './software.js'

/**
 * All keys and channels, no administration. Of what Redis calls dangerous only what concerns the instance's own data or tells of them
 * (it is alone on its server); FLUSHALL is not needed beside FLUSHDB.
 */
const RIGHTS = ['~*', '&*', '+@all', '-@admin', '-@dangerous', '+info', '+keys', '+flushdb', '+sort']
/** Over its limit: what takes room is refused, what gives some is not. */
const RIGHTS_WHEN_FULL = [...RIGHTS, '-@write', '+del', '+unlink', '+flushdb', '+expire', '+pexpire']
/** A user that nobody can be: it is there while the data are over their limit, and is kept with the others. */
const FULL_MARK = 'bloomery-full'
const SAVE_PATIENCE_MS = 10 * 60_000
const STOP_PATIENCE_MS = 30_000
const MIB = 1024 * 1024

/** A server per instance. Users are those of its access control list, which it keeps in a file. */
export class RedisEngine implements Engine {
  readonly offering = REDIS
  readonly plans = REDIS_PLANS

  constructor(private readonly servers: ServerHost) {}

  probe() {
    return this.servers.probe('redis')
  }

  async provision(instance: Instance): Promise<void> {
    await this.#configure(instance)
  }

  deprovision(instance: Instance): Promise<void> {
    return this.servers.remove(specOf(instance).name)
  }

  async bind(instance: Instance, user: BindingUser): Promise<Grant> {
    const server = await this.servers.ensure(specOf(instance))
    const legacy = user.parameters['legacy_password'] === true
    await asAdmin(server, async (command) => {
      const rights = (await hasUser(command, FULL_MARK)) ? RIGHTS_WHEN_FULL : RIGHTS
      const hash = hashOf(user.password)
      // The user is there in either case: by it `unbind` knows the password that it takes from the default user.
      await command('ACL', 'SETUSER', user.username, 'reset', legacy ? 'off' : 'on', `#${hash}`, ...rights)
      if (legacy) await command('ACL', 'SETUSER', 'default', 'on', `#${hash}`, 'resetkeys', 'resetchannels', '-@all', ...rights)
      await command('ACL', 'SAVE')
    })
    return grantOf(server, user, legacy)
  }

  async unbind(instance: Instance, { username }: Pick<BindingUser, 'username'>): Promise<void> {
    if (!(await this.servers.find(specOf(instance).name))) return
    const server = await this.servers.ensure(specOf(instance))
    await asAdmin(server, async (command) => {
      const user = await readUser(command, username)
      if (!user) return
      const byDefault = (await readUser(command, 'default'))?.passwords ?? []
      const taken = user.passwords.filter((hash) => byDefault.includes(hash))
      if (taken.length > 0) {
        const isLast = byDefault.length === taken.length
        await command('ACL', 'SETUSER', 'default', ...taken.map((hash) => `!${hash}`), ...(isLast ? ['off', '-@all'] : []))
        // Whose they are cannot be told; who has another password logs in again.
        await command('CLIENT', 'KILL', 'USER', 'default')
      }
      // Ends its connections, too.
      await command('ACL', 'DELUSER', username)
      await command('ACL', 'SAVE')
    })
  }

  async resize(from: Instance, to: Instance): Promise<void> {
    const limit = maxmemoryMb(to.plan.memoryMb)
    if (to.plan.memoryMb < from.plan.memoryMb) {
      const used = await this.#usedMemory(from)
      if (used > limit * MIB)
        throw new ServiceFault(
          `The data take ${Math.ceil(used / MIB)} MB, and the plan '${to.plan.name}' has room for ${limit} MB. Delete some first.`,
        )
    }
    await this.#configure(to)
    // Whether the data are over the new limit is found out anew.
    await this.limit(to, false)
  }

  /** All plans have servers of their own, which grow and shrink: nothing is moved. */
  async copy(from: Instance, to: Instance): Promise<void> {
    await this.resize(from, to)
  }

  async reopen(instance: Instance, users: readonly BindingUser[]): Promise<void> {
    for (const user of users) await this.bind(instance, user)
  }

  async size(instance: Instance): Promise<number> {
    return (await this.servers.usage(specOf(instance).name)).diskBytes
  }

  async limit(instance: Instance, exceeded: boolean): Promise<void> {
    const server = await this.servers.ensure(specOf(instance))
    await asAdmin(server, async (command) => {
      if (exceeded) await command('ACL', 'SETUSER', FULL_MARK, 'reset', 'off')
      else await command('ACL', 'DELUSER', FULL_MARK)
      for (const name of await listUsers(command))
        if (name !== ADMIN && name !== FULL_MARK && (name !== 'default' || (await readUser(command, name))?.on === true))
          await command('ACL', 'SETUSER', name, 'resetkeys', 'resetchannels', '-@all', ...(exceeded ? RIGHTS_WHEN_FULL : RIGHTS))
      await command('ACL', 'SAVE')
    })
  }

  async backup(instance: Instance, file: string, signal: AbortSignal): Promise<void> {
    const server = await this.servers.ensure(specOf(instance))
    const written = join(server.folder, DATA_FOLDER, BACKUP_NAME)
    await asAdmin(server, (command) => save(command, written, signal))
    await copyFileOver(written, file, signal)
    rmSync(written, { force: true })
  }

  async restore(instance: Instance, file: string, signal: AbortSignal): Promise<void> {
    const server = await this.servers.ensure(specOf(instance))
    await this.#refuseDamaged(server, file)
    signal.throwIfAborted()
    await copyFileOver(file, join(server.folder, RESTORE_FILE), signal)
    // It ends at once, and its next start begins with the backup.
    await asAdmin(server, (command) => command('SHUTDOWN', 'NOSAVE')).catch(() => undefined)
    for (const end = Date.now() + STOP_PATIENCE_MS; await this.#stillRuns(server); await delay(50))
      if (Date.now() > end) throw new Error(`The server ${server.name} did not end for its backup.`)
    await this.servers.ensure(specOf(instance))
    if (existsSync(join(server.folder, RESTORE_FILE))) throw new Error(`The server ${server.name} did not take the backup.`)
  }

  async metrics(instance: Instance): Promise<readonly Metric[]> {
    const { name } = specOf(instance)
    const usage = await this.servers.usage(name)
    if (!usage.running) return []
    const server = await this.servers.ensure(specOf(instance))
    const [memory, clients] = await asAdmin(server, async (command) => [
      parseInfo(await command('INFO', 'memory')),
      parseInfo(await command('INFO', 'clients')),
    ])
    return [
      { name: 'bloomery_service_data_bytes', help: 'Bytes that the data take.', value: usage.diskBytes },
      {
        name: 'bloomery_service_keys_bytes',
        help: 'Memory that keys and values take.',
        value: Number(memory?.['used_memory'] ?? 0),
      },
      { name: 'bloomery_service_connections', help: 'Open connections.', value: Number(clients?.['connected_clients'] ?? 0) },
      { name: 'bloomery_service_memory_bytes', help: "Memory of the instance's own server.", value: usage.memoryBytes },
    ]
  }

  /** Makes or finds the server, with the limits and the parameters that the instance has now. */
  async #configure(instance: Instance): Promise<Server> {
    const server = await this.servers.ensure(specOf(instance))
    const policy = instance.parameters['maxmemory_policy']
    await asAdmin(server, async (command) => {
      await command('CONFIG', 'SET', 'maxmemory-policy', typeof policy === 'string' ? policy : 'noeviction')
      await command('CONFIG', 'REWRITE')
    })
    return server
  }

  async #usedMemory(instance: Instance): Promise<number> {
    const server = await this.servers.ensure(specOf(instance))
    return asAdmin(server, async (command) => Number(parseInfo(await command('INFO', 'memory'))['used_memory'] ?? 0))
  }

  async #stillRuns(server: Server): Promise<boolean> {
    // Somebody who keeps servers running may have started it again: then the backup has been taken.
    const { running } = await this.servers.usage(server.name)
    return running && !(await asAdmin(server, () => Promise.resolve(true)).catch(() => false))
  }

  /** Before the present data are given up for it. */
  async #refuseDamaged(server: Server, file: string): Promise<void> {
    const refuse = (why: string): never => {
      throw new ServiceFault(`The backup cannot be restored: ${why}. The data are as they were.`)
    }
    if (!(await startsWith(file, 'REDIS'))) refuse('it is not a backup of Redis')
    const checked = await this.servers.run(server.name, 'redis-check-rdb', [file]).then(
      () => undefined,
      (error: unknown) => String(error),
    )
    if (checked !== undefined && !/needs the program/.test(checked)) refuse('it is damaged')
  }
}

const specOf = (instance: Pick<Instance, 'guid' | 'plan'>) => serverOf('redis', instance, { memoryMb: 0, diskMb: 0 })
const hashOf = (password: string): string => createHash('sha256').update(password).digest('hex')

interface AclUser {
  readonly on: boolean
  /** Digests. */
  readonly passwords: readonly string[]
}

/** The answer is a list of names and values, in turn. */
async function readUser(command: RedisCommand, name: string): Promise<AclUser | undefined> {
  const answer = await command('ACL', 'GETUSER', name)
  if (!Array.isArray(answer)) return undefined
  const field = (key: string): string[] => {
    const value: unknown = answer[answer.indexOf(key) + 1]
    return Array.isArray(value) ? value.map(String) : []
  }
  return { on: field('flags').includes('on'), passwords: field('passwords') }
}

const hasUser = async (command: RedisCommand, name: string): Promise<boolean> => (await listUsers(command)).includes(name)

async function listUsers(command: RedisCommand): Promise<string[]> {
  const names = await command('ACL', 'USERS')
  return Array.isArray(names) ? names.map(String) : []
}

/** Writes the data to a file beside the log, in a process of its own, and waits for it. */
async function save(command: RedisCommand, written: string, signal: AbortSignal): Promise<void> {
  // The new one comes whole, by another name first: it is there when it is ready.
  rmSync(written, { force: true })
  await command('BGSAVE', 'SCHEDULE')
  for (const end = Date.now() + SAVE_PATIENCE_MS; ; await delay(50)) {
    signal.throwIfAborted()
    const state = parseInfo(await command('INFO', 'persistence'))
    const isBusy = state['rdb_bgsave_in_progress'] !== '0' || state['aof_rewrite_in_progress'] !== '0'
    if (!isBusy && existsSync(written)) return
    if (!isBusy && state['rdb_last_bgsave_status'] !== 'ok')
      throw new ServiceFault(
        'The server could not write the backup: it has too little memory or disk. Try again, or take a larger plan.',
      )
    if (Date.now() > end) throw new Error('The server did not finish writing the backup.')
  }
}

function grantOf({ host, ports }: Server, { username, password }: BindingUser, legacy: boolean): Grant {
  const port = ports['redis'] ?? 0
  const uri = `redis://${legacy ? '' : username}:${password}@${host}:${port}`
  return {
    credentials: {
      uri,
      url: uri,
      hostname: host,
      host,
      port,
      ...(legacy ? {} : { username, user: username }),
      password,
      tls: false,
    },
    endpoints: [{ host, ports: [String(port)] }],
  }
}
