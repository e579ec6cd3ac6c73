import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Pool } from '@bloomery/database/sql'
import type { Logger } from '@bloomery/telemetry'
import { type Availability, ServiceFault } from '../engines/engine.js'
import { newPassword } from '../engines/names.js'
import {
  addServer,
  deleteServer,
  findServer,
  listServers,
  markServerRemoving,
  type ServerRecord,
  setServerAddress,
  setServerLimits,
  setServerResting,
  setServerSource,
} from '../state/servers.js'
import type { Vault } from '../state/vault.js'
import { folderBytes } from './folder-bytes.js'
import type { ServiceFolders } from './folders.js'
import { freePorts } from './free-port.js'
import type { Runtime } from './runtime.js'
import type { ProgramPaths, RunOptions, Server, ServerHost, ServerSpec, ServerUsage, Software } from './server-host.js'

const LOOK_EVERY_MS = 3_000
const START_TIMEOUT_MS = 60_000
const LONGEST_PAUSE_MS = 60_000

/** Where instances reach servers of this machine, and who lets them through. */
export interface ServiceNetwork {
  /** The address that servers listen on and apps dial. */
  address(): Promise<string>
  /** Lets instances reach these ports of that address, and no others. */
  open(ports: readonly number[]): Promise<void>
}

export interface LocalServerHostOptions {
  readonly pool: Pool
  readonly vault: Vault
  readonly software: readonly Software[]
  /** In the order of preference. */
  readonly runtimes: readonly Runtime[]
  readonly folders: ServiceFolders
  readonly network: ServiceNetwork
  /** What all servers together may be given. */
  readonly memoryMb: number
  readonly log: Logger
}

interface Found {
  readonly runtime: Runtime
  readonly programs: ProgramPaths
  readonly from: string
}

/** Servers on the broker's own machine. What is wanted lies in the database; what runs is found again by its folder. */
export class LocalServerHost implements ServerHost {
  readonly #turns = new Map<string, Promise<unknown>>()
  /** Those that have answered since they were started or found; from then on `keepRunning` looks after them. */
  readonly #served = new Set<string>()
  /** What each server's data are used by. */
  readonly #sources = new Map<string, ServerRecord['source']>()
  readonly #failures = new Map<string, { readonly count: number; readonly notBefore: number }>()

  constructor(private readonly options: LocalServerHostOptions) {}

  async probe(kind: string): Promise<Availability> {
    const software = this.#software(kind)
    const found = await this.#find(software)
    if (found) return { available: true, from: found.from }
    return { available: false, reason: `no server for ${kind} was found on this machine`, remedy: software.remedy }
  }

  ensure(spec: ServerSpec): Promise<Server> {
    return this.#inTurn(spec.name, async () => {
      const { pool } = this.options
      const record = await this.#atItsAddress((await findServer(pool, spec.name)) ?? (await this.#add(spec)))
      if (record.removing) throw new ServiceFault('The server of this instance is being removed; try again later.')
      if (record.resting) await setServerResting(pool, spec.name, false)
      const software = this.#software(spec.kind)
      const changed = record.memoryMb !== spec.memoryMb || record.diskMb !== spec.diskMb
      if (changed) {
        await this.#requireMemory(spec.memoryMb - record.memoryMb)
        await setServerLimits(pool, spec.name, spec)
      }
      const server = this.#server({ ...record, memoryMb: spec.memoryMb, diskMb: spec.diskMb })
      if (changed) await this.#stop(server, software)
      await this.#start(server, software)
      return server
    })
  }

  /** Stops a server that nobody needs now, and keeps its data; `ensure` starts it again. */
  rest(name: string, isNeeded: () => Promise<boolean>): Promise<void> {
    return this.#inTurn(name, async () => {
      const record = await findServer(this.options.pool, name)
      if (!record || record.resting || record.removing || (await isNeeded())) return
      this.options.log.info({ server: name }, 'a database server without instances is stopped')
      await setServerResting(this.options.pool, name, true)
      await this.#stop(this.#server(record), this.#software(record.kind))
    })
  }

  async find(name: string): Promise<Server | undefined> {
    const record = await findServer(this.options.pool, name)
    return record && !record.removing ? this.#server(record) : undefined
  }

  remove(name: string): Promise<void> {
    return this.#inTurn(name, async () => {
      await markServerRemoving(this.options.pool, name)
      const record = await findServer(this.options.pool, name)
      if (!record) return
      const server = this.#server(record)
      await this.#stop(server, this.#software(record.kind))
      await rm(server.folder, { recursive: true, force: true, maxRetries: 3 })
      await deleteServer(this.options.pool, name)
      this.#failures.delete(name)
      await this.#openPorts()
    })
  }

  async usage(name: string): Promise<ServerUsage> {
    const server = await this.find(name)
    if (!server) return { running: false, memoryBytes: 0, diskBytes: 0 }
    const runtime = await this.#running(server)
    const used = await runtime?.usage(server)
    return { running: runtime !== undefined, memoryBytes: used?.memoryBytes ?? 0, diskBytes: await folderBytes(server.folder) }
  }

  async run(name: string, program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
    const record = await findServer(this.options.pool, name)
    if (!record) throw new Error(`There is no server ${name}.`)
    const software = this.#software(record.kind)
    const server = this.#server(record)
    const runtime = (await this.#running(server)) ?? (await this.#found(software, record.source)).runtime
    return runtime.run(server, software, program, args, options)
  }

  /** Keeps all servers running that were made, until the signal: after a restart of the machine, and when one dies. */
  async keepRunning(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const records = await listServers(this.options.pool).catch((error: unknown) => {
        this.options.log.warn({ err: error }, 'the list of servers cannot be read; what runs is left alone')
        return []
      })
      if (records.length > 0)
        await this.#openPorts(records).catch((error: unknown) => this.#log(error, 'the way from apps to servers'))
      await Promise.all(records.map((record) => this.#keep(record, signal)))
      await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined)
    }
  }

  async #keep(record: ServerRecord, signal: AbortSignal): Promise<void> {
    const { name } = record
    // Somebody is at it.
    if (this.#turns.has(name) || signal.aborted || Date.now() < (this.#failures.get(name)?.notBefore ?? 0)) return
    try {
      if (record.removing) return await this.remove(name)
      if (record.resting) return
      const moved = (await this.options.network.address()) !== record.address
      if (!moved && (await this.#running(this.#server(record)))) return
      await this.#inTurn(name, async () => {
        const present = await findServer(this.options.pool, name)
        if (!present || present.removing || present.resting) return
        const server = this.#server(await this.#atItsAddress(present))
        if (await this.#running(server)) return
        this.options.log.info({ server: name }, 'a database server is started')
        await this.#start(server, this.#software(record.kind))
      })
      this.#failures.delete(name)
    } catch (error) {
      const count = (this.#failures.get(name)?.count ?? 0) + 1
      this.#failures.set(name, { count, notBefore: Date.now() + Math.min(LONGEST_PAUSE_MS, 1_000 * 2 ** count) })
      this.#log(error, name)
    }
  }

  #log(error: unknown, server: string): void {
    this.options.log.error({ server, err: error }, 'a database server is not as it should be; trying again')
  }

  async #add(spec: ServerSpec): Promise<ServerRecord> {
    const { pool, vault, network } = this.options
    const software = this.#software(spec.kind)
    await this.#found(software)
    await this.#requireMemory(spec.memoryMb)
    const address = await network.address()
    const taken = new Set((await listServers(pool)).flatMap(({ ports }) => Object.values(ports)))
    const free = await freePorts(address, software.ports.length, taken)
    const ports = Object.fromEntries(software.ports.map((name, i) => [name, free[i] ?? 0]))
    const secret = vault.seal(newPassword(), `server:${spec.name}`)
    const record = await addServer(pool, { ...spec, address, ports, secret })
    if (!record) throw new Error(`The server ${spec.name} vanished while it was being made.`)
    return record
  }

  async #requireMemory(more: number): Promise<void> {
    if (more <= 0) return
    const given = (await listServers(this.options.pool)).reduce((sum, { memoryMb }) => sum + memoryMb, 0)
    if (given + more > this.options.memoryMb)
      throw new ServiceFault(
        `The platform has no room for it: of ${this.options.memoryMb} MB for service servers ${given} MB are given away, and this needs ${more} MB. ` +
          'Delete a service instance with a plan of its own, choose a smaller plan, or ask the operator for more (BLOOMERY_SERVICES_MEMORY_MB).',
      )
  }

  #server(record: ServerRecord): Server {
    const { vault, folders } = this.options
    this.#sources.set(record.name, record.source)
    return {
      name: record.name,
      folder: folders.server(record.name),
      host: record.address,
      ports: record.ports,
      secret: vault.open(record.secret, `server:${record.name}`),
      memoryMb: record.memoryMb,
      diskMb: record.diskMb,
    }
  }

  /** Another engine, another address: what listens at the former one is reached by nobody, and is started anew. In its turn only. */
  async #atItsAddress(record: ServerRecord): Promise<ServerRecord> {
    const { network, pool, log } = this.options
    const address = await network.address()
    if (address === record.address) return record
    log.warn(
      { server: record.name, before: record.address, now: address },
      'the address of service servers is another one; apps that are bound to this server have to be bound anew',
    )
    await this.#stop(this.#server(record), this.#software(record.kind))
    await setServerAddress(pool, record.name, address)
    return { ...record, address }
  }

  /** Resolves once it serves. What runs already is asked, not started. */
  async #start(server: Server, software: Software): Promise<void> {
    const running = await this.#running(server)
    // Its ports are open since then, and `keepRunning` sees to it that they stay so.
    if (running && this.#served.has(server.name)) return
    await this.#openPorts()
    const runtime = running ?? (await this.#launch(server, software))
    for (const end = Date.now() + (software.startTimeoutMs ?? START_TIMEOUT_MS); ; await delay(50)) {
      if (await software.isReady(server).catch(() => false)) {
        this.#served.add(server.name)
        return
      }
      if (!(await runtime.isRunning(server)))
        throw new Error(`The server ${server.name} ended while it was starting: ${await runtime.lastWords(server)}`)
      if (Date.now() > end) throw new Error(`The server ${server.name} does not answer: ${await runtime.lastWords(server)}`)
    }
  }

  async #launch(server: Server, software: Software): Promise<Runtime> {
    const { folders } = this.options
    this.#served.delete(server.name)
    const source = (await findServer(this.options.pool, server.name))?.source ?? null
    const { runtime, programs } = await this.#found(software, source)
    if (source === null) await setServerSource(this.options.pool, server.name, runtime.kind)
    this.#sources.set(server.name, runtime.kind)
    folders.make(server.folder)
    const command = await software.prepare({
      ...server,
      listen: runtime.listenAddress(server.host),
      program: (name) => {
        const path = programs[name]
        if (path === undefined) throw new Error(`${software.kind} needs the program ${name}: ${software.remedy}`)
        return path
      },
      run: (program, args, options = {}) => runtime.run(server, software, program, args, options),
      makeFolder: (name) => folders.make(join(server.folder, name)),
      write: (name, text) => {
        const path = join(server.folder, name)
        folders.write(path, text)
        return path
      },
    })
    await runtime.start(server, software, command)
    return runtime
  }

  async #stop(server: Server, software: Software): Promise<void> {
    this.#served.delete(server.name)
    for (const runtime of this.#runtimesOf(server)) await runtime.stop(server, software)
  }

  async #running(server: Server): Promise<Runtime | undefined> {
    for (const runtime of this.#runtimesOf(server)) if (await runtime.isRunning(server)) return runtime
    return undefined
  }

  /** None before the first start. */
  #runtimesOf({ name }: Pick<Server, 'name'>): readonly Runtime[] {
    return this.options.runtimes.filter(({ kind }) => kind === this.#sources.get(name))
  }

  async #found(software: Software, source: ServerRecord['source'] = null): Promise<Found> {
    const found = await this.#find(software, source)
    if (!found)
      throw new ServiceFault(
        `The platform has no server for ${software.kind} any more${source === null ? '' : ` of the kind that made its data (${source})`}. ` +
          `Its operator can bring it back: ${software.remedy}.`,
      )
    return found
  }

  /** What is here already comes before what would have to be fetched. */
  async #find(software: Software, source: ServerRecord['source'] = null): Promise<Found | undefined> {
    const runtimes = this.options.runtimes.filter(({ kind }) => source === null || kind === source)
    const found: (Found & { readonly ready: boolean })[] = []
    for (const runtime of runtimes) {
      const one = await runtime.find(software)
      if (one?.ready === true) return { runtime, ...one }
      if (one) found.push({ runtime, ...one })
    }
    return found[0]
  }

  #software(kind: string): Software {
    const found = this.options.software.find((one) => one.kind === kind)
    if (!found) throw new Error(`No software of the kind ${kind}.`)
    return found
  }

  async #openPorts(records?: readonly ServerRecord[]): Promise<void> {
    const { pool, network } = this.options
    const ports = (records ?? (await listServers(pool)))
      .filter(({ removing }) => !removing)
      .flatMap(({ kind, ports: all }) => this.#software(kind).publicPorts.map((name) => all[name] ?? 0))
    await network.open(ports.filter((port) => port > 0))
  }

  /** One at a time for each server; others' failures are theirs. */
  async #inTurn<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(name) ?? Promise.resolve()
    const turn = before.then(work, work)
    this.#turns.set(name, turn)
    try {
      return await turn
    } finally {
      if (this.#turns.get(name) === turn) this.#turns.delete(name)
    }
  }
}
