import { createHash } from 'node:crypto'
import { lstat, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import {
  buildServer,
  DATA_FILE,
  giveOrder,
  makeVerifier,
  missingForServer,
  RESTORE_FILE,
  SERVER_SOFTWARE_REMEDY,
  type ServerSoftwareOptions,
} from '@bloomery/mongo-gate'
import { copyFileOver, startsWith } from '../../servers/hand-over.js'
import type { ServerHost } from '../../servers/server-host.js'
import { type Availability, type BindingUser, type Grant, type Instance, type Metric, ServiceFault } from '../engine.js'
import { serverOf } from '../placement.js'
import { databaseOf, DEVELOPMENT_KIND } from './development-software.js'
import { grantOf } from './grant.js'
import type { MongodbKind } from './mongodb.js'
import { DEVELOPMENT_PLANS } from './plans.js'

/** The broker's start does not wait longer for parts that are fetched; they go on being so. */
const FETCH_PATIENCE_MS = 60_000
const BACKUP_NAME = 'backup.zip'

/** A development server per instance. Its users are the gate's. */
export class DevelopmentServers implements MongodbKind {
  readonly plans = DEVELOPMENT_PLANS

  constructor(
    private readonly servers: ServerHost,
    private readonly parts: ServerSoftwareOptions,
  ) {}

  async probe(): Promise<Availability> {
    const unavailable = (reason: string): Availability => ({ available: false, reason, remedy: SERVER_SOFTWARE_REMEDY })
    const missing = await missingForServer(this.parts)
    if (missing !== undefined) return unavailable(missing)
    const patience = new AbortController()
    const fetched = await Promise.race([
      buildServer(this.parts).then(
        (from): Availability => ({ available: true, from }),
        (error: unknown) => unavailable(error instanceof Error ? error.message : String(error)),
      ),
      delay(FETCH_PATIENCE_MS, unavailable('its parts are still being fetched'), { signal: patience.signal }),
    ])
    patience.abort()
    return fetched
  }

  async provision(instance: Instance): Promise<void> {
    await this.servers.ensure(specOf(instance))
  }

  deprovision(instance: Instance): Promise<void> {
    return this.servers.remove(specOf(instance).name)
  }

  async bind(instance: Instance, user: BindingUser): Promise<Grant> {
    const server = await this.servers.ensure(specOf(instance))
    // The same salt each time: said twice it changes nothing, and ends no session.
    const salt = createHash('sha256').update(`salt of ${user.guid} ${user.username}`).digest().subarray(0, 28)
    await giveOrder(server.folder, { order: 'set-user', name: user.username, verifier: await makeVerifier(user.password, salt) })
    // No sessions, so no writes that are tried again; some drivers want to be told.
    return grantOf(server, databaseOf(server.name), user, 'retryWrites=false')
  }

  async unbind(instance: Instance, { username }: Pick<BindingUser, 'username'>): Promise<void> {
    if (!(await this.servers.find(specOf(instance).name))) return
    const server = await this.servers.ensure(specOf(instance))
    await giveOrder(server.folder, { order: 'remove-user', name: username })
  }

  async resize(_from: Instance, to: Instance): Promise<void> {
    await this.limit(to, false)
  }

  async reopen(instance: Instance, users: readonly BindingUser[]): Promise<void> {
    for (const user of users) await this.bind(instance, user)
  }

  async size(instance: Instance): Promise<number> {
    const server = await this.servers.find(specOf(instance).name)
    return server ? ((await lstat(join(server.folder, DATA_FILE)).catch(() => undefined))?.size ?? 0) : 0
  }

  async limit(instance: Instance, exceeded: boolean): Promise<void> {
    const server = await this.servers.ensure(specOf(instance))
    await giveOrder(server.folder, { order: 'limit', full: exceeded })
  }

  async backup(instance: Instance, file: string, signal: AbortSignal): Promise<void> {
    const server = await this.servers.ensure(specOf(instance))
    const written = join(server.folder, BACKUP_NAME)
    try {
      await giveOrder(server.folder, { order: 'backup', file: BACKUP_NAME })
      await copyFileOver(written, file, signal)
    } finally {
      await rm(written, { force: true })
    }
  }

  async restore(instance: Instance, file: string, signal: AbortSignal): Promise<void> {
    const server = await this.servers.ensure(specOf(instance))
    if (!(await startsWith(file, 'PK')))
      throw new ServiceFault('The backup cannot be restored: it is not one of this kind of server.')
    await copyFileOver(file, join(server.folder, RESTORE_FILE), signal)
    try {
      await giveOrder(server.folder, { order: 'restore' })
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      if (!reason.includes('refused')) throw error
      throw new ServiceFault(`The backup cannot be restored: it is damaged. The data are as they were.`, { cause: error })
    }
  }

  async metrics(instance: Instance): Promise<readonly Metric[]> {
    const { name } = specOf(instance)
    const usage = await this.servers.usage(name)
    if (!usage.running) return []
    const server = await this.servers.ensure(specOf(instance))
    const { loggedIn } = await giveOrder(server.folder, { order: 'status' })
    return [
      { name: 'bloomery_service_data_bytes', help: 'Bytes that the data take.', value: await this.size(instance) },
      { name: 'bloomery_service_connections', help: 'Open connections.', value: loggedIn },
      { name: 'bloomery_service_memory_bytes', help: "Memory of the instance's own server.", value: usage.memoryBytes },
    ]
  }
}

const specOf = (instance: Pick<Instance, 'guid' | 'plan'>) => serverOf(DEVELOPMENT_KIND, instance, { memoryMb: 0, diskMb: 0 })
