import { type ContainerEngine, EngineError, type ReservedEndpoint, type SeenContainer } from '@bloomery/containers'
import type { InstanceEndpoint, SeenInstance } from '@bloomery/contracts'
import type { SpoolingLogSender } from '@bloomery/feeds'
import type { Logger } from '@bloomery/telemetry'
import { type DropletCache, DropletUnavailable } from '../droplets/droplet-cache.js'
import { watchHealth } from '../health/watch-health.js'
import type { InstanceIdentities } from '../tls/instance-identities.js'
import { containerSpecOf } from './container-spec.js'
import { InstanceLogs } from './instance-logs.js'
import type { InstanceRecord } from './instance-record.js'
import { readLaunchInfo } from './launch.js'
import type { RecordStore } from './record-store.js'

const CREATE_ATTEMPTS = 4
const DRAIN_MS = 5000

/** What an instance needs of the cell around it. */
export interface InstanceSurroundings {
  readonly cellId: string
  readonly hostAddress: string
  /** Where the cell speaks TLS for its instances; undefined: it does not. */
  readonly tlsPort: number | undefined
  readonly image: string
  readonly engine: ContainerEngine
  readonly droplets: DropletCache
  readonly sender: SpoolingLogSender
  readonly records: RecordStore
  /** Absent: instances get no certificates. */
  readonly identities?: InstanceIdentities | undefined
  readonly log: Logger
  /** Bounds how many start at once. */
  readonly startSlot: <T>(work: () => Promise<T>) => Promise<T>
  /** Addresses that may not be given to this app yet. */
  readonly avoidAddresses: (appGuid: string) => readonly string[]
  /** Something that the scheduler should hear. */
  readonly changed: () => void
}

export interface StartInput {
  readonly environment: Readonly<Record<string, string>>
  /** Of its bindings. */
  readonly files: Readonly<Record<string, string>> | undefined
  readonly dropletUrl: string | undefined
  readonly dropletBytes: number
  /** Kept beside the record, which does without it on disk. */
  readonly command: string | null | undefined
}

/** One instance on this cell, from the wish to run it until its last trace is gone. */
export class Instance {
  readonly logs: InstanceLogs
  private readonly stopping = new AbortController()
  private stopStarted = false
  private pausing = false
  private life: Promise<void> = Promise.resolve()

  constructor(
    readonly record: InstanceRecord,
    private readonly around: InstanceSurroundings,
  ) {
    this.logs = new InstanceLogs(record, around.sender, around.log)
    around.droplets.hold(record.dropletSha256, record.instanceGuid)
  }

  get guid(): string {
    return this.record.instanceGuid
  }

  /** Makes and starts the container, then watches it. */
  start(input: StartInput): void {
    this.life = this.runFromStart(input)
  }

  /** Takes over a container that was found: running, ended meanwhile, or never started. */
  adopt(seen: SeenContainer | undefined): void {
    // Its stop began under an earlier agent and is gone on with; until then what it prints is collected.
    if (this.record.state === 'stopping') this.logs.follow(this.around.engine)
    else this.life = this.runFromFound(seen)
  }

  /** SIGTERM, grace time, SIGKILL, away with it. Resolves when nothing of it is left. */
  async stop(): Promise<void> {
    if (this.stopStarted) return this.life
    this.stopStarted = true
    const { engine, cellId } = this.around
    const { spec } = this.record
    this.enter('stopping', { routable: false })
    this.say(`Cell ${cellId} stopping instance ${this.guid}`)
    this.stopping.abort()
    const before = this.life
    this.life = (async () => {
      await before
      await this.untilDone('stop', async () => {
        const seen = await engine.find(this.guid)
        const running = seen?.status.state === 'running'
        const { killed } = running ? await engine.stop(this.guid, spec.gracefulStopSeconds) : { killed: false }
        const ended = running ? await engine.find(this.guid) : seen
        if (ended?.status.state !== 'exited') return
        await this.logs.drained(DRAIN_MS)
        const note = killed ? ` (exceeded ${spec.gracefulStopSeconds}s graceful shutdown interval)` : ''
        this.logs.say(this.logs.processSource, `Exit status ${ended.status.exitCode}${note}`)
      })
      await this.destroy()
      await this.forget()
    })()
    return this.life
  }

  /** Drops the record of an ended instance, once its container is gone. */
  async forget(): Promise<void> {
    if (!this.stopStarted) await this.life
    this.around.droplets.release(this.record.dropletSha256, this.guid)
    await this.logs.end()
    await this.around.records.remove(this.guid)
  }

  /** The agent goes; the instance stays. */
  async pause(): Promise<void> {
    this.pausing = true
    this.stopping.abort()
    await this.logs.pause()
  }

  /** Ends it for a reason of the cell's own, as a crash. */
  async end(reason: string): Promise<void> {
    this.logs.say('CELL', reason, 'ERR')
    this.endReason = reason
    await this.around.engine.kill(this.guid, 'SIGKILL')
  }
  private endReason: string | undefined

  private async runFromStart(input: StartInput): Promise<void> {
    const { cellId, startSlot } = this.around
    const { signal } = this.stopping
    void this.around.records.save(this.record)
    try {
      const seen = await startSlot(async () => {
        signal.throwIfAborted()
        this.say(`Cell ${cellId} creating container for instance ${this.guid}`)
        return this.createAndStart(input)
      })
      this.record.startedAt = (seen.status.state === 'running' ? seen.status.startedAt : new Date()).toISOString()
      void this.around.records.save(this.record)
    } catch (error) {
      if (!signal.aborted) await this.failToStart(error)
      return
    }
    await this.watch({ wasHealthy: false })
  }

  private async createAndStart(input: StartInput): Promise<SeenContainer> {
    const { engine, droplets, hostAddress, image, avoidAddresses, cellId } = this.around
    const { spec } = this.record
    const source = {
      sha256: this.record.dropletSha256,
      sizeBytes: input.dropletBytes,
      ...(input.dropletUrl === undefined ? {} : { url: input.dropletUrl }),
    }
    const dropletFolders = await droplets.acquire(source, this.guid, this.stopping.signal)
    const launch = await readLaunchInfo(dropletFolders[0] ?? '')
    for (let attempt = 1; ; attempt++) {
      this.stopping.signal.throwIfAborted()
      const reserved = await engine.reserveEndpoint(spec.ports, avoidAddresses(spec.appGuid))
      const endpoint: InstanceEndpoint = endpointOf(reserved, hostAddress, this.around.tlsPort)
      try {
        const { record } = this
        // Nothing but a sandbox has the paths at which programs look.
        const identity = engine.confinement().processes === 'none' ? undefined : this.around.identities
        // Asked for while the container is being made, which takes longer.
        const certificate = identity?.obtain(this.guid, endpoint.address)
        await engine.create(
          containerSpecOf({
            ...{ record, endpoint, reserved, dropletFolders, launch, image, identity },
            environment: input.environment,
            files: input.files,
          }),
        )
        const obtained = await certificate
        if (obtained) await identity?.place(this.guid, obtained)
        const seen = await engine.start(this.guid)
        this.say(`Cell ${cellId} successfully created container for instance ${this.guid}`)
        record.endpoint = endpoint
        return seen
      } catch (error) {
        // An engine that is away cannot do that either; what is left of it goes when it is back.
        if (error instanceof EngineError && error.kind === 'unavailable') throw error
        await engine.remove(this.guid)
        // Another program was faster at the address or the port.
        if (!(error instanceof EngineError && error.kind === 'conflict') || attempt === CREATE_ATTEMPTS) throw error
      }
    }
  }

  private async failToStart(error: unknown): Promise<void> {
    const { log, engine, cellId } = this.around
    const message = error instanceof Error ? error.message : String(error)
    log.error({ err: error, instanceGuid: this.guid, appGuid: this.record.spec.appGuid }, 'an instance could not be started')
    this.logs.say('CELL', `Cell ${cellId} failed to create container for instance ${this.guid}: ${message}`, 'ERR')
    this.record.crashReason = message
    // What the engine refuses for what the app is would fail everywhere; all else is not the app's fault.
    this.record.platformFault = error instanceof DropletUnavailable || !(error instanceof EngineError) || error.kind !== 'refused'
    this.enter('crashed', { routable: false })
    // An engine that went away in the middle may have started it all the same.
    await this.untilDone('clean up', () => engine.remove(this.guid))
  }

  private async runFromFound(seen: SeenContainer | undefined): Promise<void> {
    const { record } = this
    if (record.state === 'crashed') {
      if (seen !== undefined) await this.untilDone('clean up', () => this.around.engine.remove(this.guid))
      return
    }
    if (seen === undefined || seen.status.state === 'created') {
      await this.untilDone('clean up', () => this.around.engine.remove(this.guid))
      record.crashReason = 'The container is gone'
      record.platformFault = true
      this.enter('crashed', { routable: false })
      return
    }
    if (seen.address !== undefined && record.endpoint === undefined)
      record.endpoint = {
        address: seen.address,
        hostAddress: this.around.hostAddress,
        ports: Object.entries(seen.publishedPorts).map(([internal, external]) => ({ internal: Number(internal), external })),
        ...(this.around.tlsPort === undefined ? {} : { tlsPort: this.around.tlsPort }),
      }
    if (seen.status.state === 'running') record.startedAt ??= seen.status.startedAt.toISOString()
    await this.watch({ wasHealthy: record.state === 'running' })
  }

  /** Until the program ends, a check fails or the instance is to stop. */
  private async watch({ wasHealthy }: { wasHealthy: boolean }): Promise<void> {
    const { engine } = this.around
    const { record } = this
    const { signal } = this.stopping
    this.logs.follow(engine)
    const over = new AbortController()
    const ended = engine.wait(this.guid, AbortSignal.any([signal, over.signal]))
    ended.catch(() => undefined)
    const target = { host: record.endpoint?.address ?? '127.0.0.1', port: record.endpoint?.ports[0]?.internal ?? 0 }
    const health = watchHealth(
      {
        check: record.spec.healthCheck,
        readiness: record.spec.readinessHealthCheck,
        target,
        startedAt: new Date(record.startedAt ?? Date.now()),
        wasHealthy,
        wasReady: record.routable,
      },
      {
        log: (source, text, stream) => this.logs.say(source, text, stream),
        healthy: (routable) => this.enter('running', { routable }),
        routable: (routable) => this.enter('running', { routable }),
      },
      AbortSignal.any([signal, over.signal]),
    )
    try {
      const first = await Promise.race([ended.then((status) => ({ status })), health.then((unhealthy) => ({ unhealthy }))])
      if (signal.aborted) return
      if ('status' in first) return await this.crash(first.status)
      if (first.unhealthy !== undefined) await this.crashUnhealthy(first.unhealthy)
      else await this.crash(await ended)
    } catch (error) {
      if (signal.aborted) return
      // The container vanished under us; all else the engine's driver has waited out.
      this.around.log.error({ err: error, instanceGuid: this.guid }, 'an instance was lost')
      record.crashReason = error instanceof Error ? error.message : String(error)
      record.platformFault = true
      this.enter('crashed', { routable: false })
    } finally {
      over.abort()
    }
  }

  private async crash(status: { exitCode: number; outOfMemory: boolean }): Promise<void> {
    const { record } = this
    await this.logs.drained(DRAIN_MS)
    const memory = status.outOfMemory ? ' (out of memory)' : ''
    this.logs.say(this.logs.processSource, `Exit status ${status.exitCode}${memory}`)
    record.exitStatus = status.exitCode
    record.crashReason = `${this.logs.processSource}: ${this.endReason ?? `Exited with status ${status.exitCode}${memory}`}`
    await this.crashed()
  }

  private async crashUnhealthy(reason: string): Promise<void> {
    const { engine, cellId } = this.around
    this.enter(this.record.state, { routable: false })
    this.say(`Cell ${cellId} stopping instance ${this.guid}`)
    await this.untilDone('stop', async () => {
      const { killed } = await engine.stop(this.guid, this.record.spec.gracefulStopSeconds)
      const ended = await engine.find(this.guid)
      await this.logs.drained(DRAIN_MS)
      if (ended?.status.state !== 'exited') return
      const note = killed ? ` (exceeded ${this.record.spec.gracefulStopSeconds}s graceful shutdown interval)` : ''
      this.logs.say(this.logs.processSource, `Exit status ${ended.status.exitCode}${note}`)
      this.record.exitStatus = ended.status.exitCode
    })
    this.record.crashReason = reason
    await this.crashed()
  }

  private async crashed(): Promise<void> {
    // Told at once; what is left of the container goes afterwards.
    this.enter('crashed', { routable: false })
    await this.destroy()
  }

  private async destroy(): Promise<void> {
    const { engine, cellId } = this.around
    this.say(`Cell ${cellId} destroying container for instance ${this.guid}`)
    await this.untilDone('remove', () => engine.remove(this.guid))
    this.say(`Cell ${cellId} successfully destroyed container for instance ${this.guid}`)
  }

  /** The engine may be away; then it is tried again until it is back. */
  private async untilDone(what: string, work: () => Promise<void>): Promise<void> {
    for (let waitMs = 250; !this.pausing; waitMs = Math.min(5000, waitMs * 2)) {
      try {
        return await work()
      } catch (error) {
        this.around.log.warn({ err: error, instanceGuid: this.guid }, `could not ${what} an instance, trying again`)
        await new Promise((resolve) => setTimeout(resolve, waitMs).unref())
      }
    }
  }

  private enter(state: SeenInstance['state'], { routable }: { routable: boolean }): void {
    if (this.stopStarted && state !== 'stopping') return
    const { record } = this
    if (record.state !== state) record.since = new Date().toISOString()
    record.state = state
    record.routable = routable
    void this.around.records.save(record)
    this.around.changed()
  }

  private say(text: string): void {
    this.logs.say('CELL', text)
  }
}

const endpointOf = (reserved: ReservedEndpoint, hostAddress: string, tlsPort: number | undefined): InstanceEndpoint => ({
  address: reserved.address,
  hostAddress,
  ports: reserved.ports.map(({ internal, external }) => ({ internal, external })),
  ...(tlsPort === undefined ? {} : { tlsPort }),
})
