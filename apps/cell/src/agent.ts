import { mkdir, readFile, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { ContainerEngine } from '@bloomery/containers'
import type { CellDesired } from '@bloomery/contracts'
import type { IdentitySource, SchedulerClient, SpoolingLogSender } from '@bloomery/feeds'
import type { Logger } from '@bloomery/telemetry'
import type { CellConfig } from './config.js'
import { DesiredStore } from './desired-store.js'
import { createDownloader } from './droplets/download.js'
import { DropletCache } from './droplets/droplet-cache.js'
import { Instances } from './instances/instances.js'
import { CellTidier } from './leftovers/cell-tidier.js'
import { RecordStore } from './instances/record-store.js'
import { createSlots } from './instances/slots.js'
import { MetricsSampler } from './metrics/sample-metrics.js'
import type { InstanceCertificates } from './tls/instance-certificates.js'
import { InstanceIdentities } from './tls/instance-identities.js'
import { TlsForwarder } from './tls/tls-forwarder.js'
import { SchedulerLink } from './scheduler-link.js'

const MIB = 1024 * 1024
const METRICS_MS = 5000
const HEARTBEAT_MS = 5000
const LOCAL_RESTARTS_MS = 1000
const TIDY_MS = 3_600_000
const LIST_LEFTOVERS_MS = 60_000
const CERTIFICATES_MS = 60_000
const ENGINE_RETRY_MS = 2000
const ENGINE_ANSWER_MS = 3000
const STARTS_AT_ONCE = 8
const STACKS = ['cflinuxfs4', 'bookworm']

export interface AgentDeps {
  readonly config: CellConfig
  readonly engine: ContainerEngine
  readonly client: SchedulerClient
  readonly sender: SpoolingLogSender
  readonly identity: IdentitySource
  /** Of instances: their programs' own, and for the cell where it speaks TLS for them. Absent: there are none. */
  readonly certificates?: InstanceCertificates | undefined
  readonly log: Logger
  readonly version: string
}

/** The agent of one cell: adopts what runs, then keeps to the scheduler's wishes. Instances outlive it. */
export class Agent {
  private readonly closing = new AbortController()
  private readonly droplets: DropletCache
  private readonly desiredStore: DesiredStore
  private readonly identities: InstanceIdentities | undefined
  private readonly link: SchedulerLink
  private readonly tidier: CellTidier
  private readonly timers: NodeJS.Timeout[] = []
  private instances: Instances | undefined
  private forwarder: TlsForwarder | undefined
  private desired: CellDesired | undefined
  private engineHealthy = true
  private drainAsked = false
  private stopWatching: (() => void) | undefined
  private beginning: Promise<void> = Promise.resolve()

  constructor(private readonly deps: AgentDeps) {
    const { config, log, client } = deps
    this.droplets = new DropletCache({ ...config.droplets, download: createDownloader(deps.identity), logger: log })
    this.desiredStore = new DesiredStore(config.folder, log)
    const { certificates, engine } = deps
    this.identities =
      certificates &&
      new InstanceIdentities({ certificates, engine, authorityFile: join(config.folder, 'instance-authority.crt'), log })
    this.link = new SchedulerLink({
      client,
      log,
      describe: () => this.describe(),
      report: () => this.report(),
      fulfil: (desired, known) => this.fulfil(desired, known),
      tidy: () => void this.tidy(),
    })
    this.tidier = new CellTidier({ droplets: this.droplets, engine: deps.engine, scheduler: this.link, log })
  }

  start(): void {
    this.beginning = this.begin().catch((error: unknown) => {
      if (!this.closing.signal.aborted) this.deps.log.fatal({ err: error }, 'the cell agent could not begin')
    })
  }

  /** Ends the agent; every instance runs on. */
  async close(): Promise<void> {
    this.closing.abort()
    for (const timer of this.timers) clearInterval(timer)
    this.stopWatching?.()
    await this.beginning
    await this.link.close()
    await this.instances?.pause()
    await this.forwarder?.close()
  }

  /** Asks the scheduler to place everything elsewhere. */
  drain(): void {
    this.drainAsked = true
    this.link.nudge()
  }

  private async begin(): Promise<void> {
    const { config, engine, log } = this.deps
    const { signal } = this.closing
    await mkdir(config.folder, { recursive: true })
    await mkdir(config.droplets.folder, { recursive: true, mode: 0o755 })
    this.desired = await this.desiredStore.read()
    await this.deps.certificates?.restore()
    await this.identities?.prepare()
    const instances = new Instances(this.surroundings(), await bootId())
    await this.untilEngine(async () => {
      await engine.prepare()
      await instances.adopt()
      await engine.cleanUp({ everything: false })
    })
    if (signal.aborted) return
    this.instances = instances
    await this.speakTls(instances)
    const { identities } = this
    if (identities) {
      const refresh = () => identities.refresh(instances.withPrograms())
      this.every(CERTIFICATES_MS, refresh)
      // What came due while there was no agent is not to wait.
      refresh().catch((error: unknown) => log.warn({ err: error }, 'certificates of instances could not be looked through yet'))
    }
    const { remarks, ...confinement } = engine.confinement()
    log.info({ engine: engine.kind, ...confinement }, 'cell agent is ready')
    for (const remark of remarks) log.warn(remark)
    this.link.start(this.desired?.leaseToken ?? '0')
    this.stopWatching = engine.onChange(() => void this.checkEngine())
    const sampler = new MetricsSampler(engine, config)
    this.every(METRICS_MS, () => this.measure(sampler))
    // The agent listens nowhere: whoever watches over it looks at this file's age.
    this.every(HEARTBEAT_MS, () => writeFile(join(config.folder, 'heartbeat'), ''))
    this.every(TIDY_MS, async () => {
      await this.tidy()
      await this.droplets.evict()
    })
    this.every(LIST_LEFTOVERS_MS, async () => {
      if (!this.link.isSchedulerAway) await this.tidier.tell()
    })
    this.every(LOCAL_RESTARTS_MS, async () => {
      if (this.link.isSchedulerAway && this.desired !== undefined) instances.restartLocally(this.desired, new Date())
    })
  }

  /** For routers on other machines. */
  private async speakTls(instances: Instances): Promise<void> {
    const { config, log, certificates } = this.deps
    const { identity } = this.deps
    if (config.tlsPort === undefined || !certificates) return
    const forwarder = new TlsForwarder({
      listen: { host: config.address, port: config.tlsPort },
      identity: typeof identity === 'function' ? identity : () => identity,
      certificates,
      addressOf: (guid, port) => instances.addressOf(guid, port),
      log,
    })
    this.forwarder = forwarder
    await forwarder.listen()
  }

  /** An engine that is away, or an image that is still being built, is waited for. */
  private async untilEngine(work: () => Promise<void>): Promise<void> {
    for (let told = ''; ;) {
      this.closing.signal.throwIfAborted()
      try {
        return await work()
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error)
        if (reason !== told) this.deps.log.error({ err: error }, 'the container engine is not ready yet; waiting for it')
        told = reason
        await delay(ENGINE_RETRY_MS, undefined, { signal: this.closing.signal })
      }
    }
  }

  private surroundings() {
    const { config, engine, sender, log } = this.deps
    return {
      cellId: config.cellId,
      hostAddress: config.address,
      tlsPort: config.tlsPort,
      image: config.engine.image,
      engine,
      droplets: this.droplets,
      sender,
      records: new RecordStore(join(config.folder, 'instances'), log),
      identities: this.identities,
      log,
      startSlot: createSlots(STARTS_AT_ONCE),
      avoidAddresses: (appGuid: string) =>
        (this.desired?.reservedAddresses ?? []).filter((one) => one.appGuid !== appGuid).map(({ address }) => address),
      changed: () => this.link.nudge(),
    }
  }

  private async describe() {
    const { config, engine, version } = this.deps
    const { bavail, bsize } = await statfs(config.folder)
    return {
      zone: config.zone,
      address: config.address,
      engine: engine.kind,
      stacks: STACKS,
      memoryMb: config.memoryMb,
      diskMb: config.diskMb ?? Math.floor((bavail * bsize * config.diskOvercommit) / MIB),
      maxInstances: config.maxInstances,
      version,
    }
  }

  private async report() {
    await this.checkEngine()
    const { bavail, bsize } = await statfs(this.deps.config.folder)
    return {
      instances: this.instances?.seen() ?? [],
      engineHealthy: this.engineHealthy,
      diskFree: bavail * bsize,
      draining: this.drainAsked || (this.desired?.draining ?? false),
    }
  }

  private fulfil(desired: CellDesired, known: ReadonlySet<string>): boolean {
    const isNew = this.desired?.revision !== desired.revision || this.desired.leaseToken !== desired.leaseToken
    this.desired = desired
    if (isNew) void this.desiredStore.save(desired)
    return this.instances?.fulfil(desired, known) ?? true
  }

  /** An engine that hangs counts as one that is away: reports must not wait for it. */
  private async checkEngine(): Promise<void> {
    const { engine, log } = this.deps
    const giveUp = new AbortController()
    try {
      const late = delay(ENGINE_ANSWER_MS, undefined, { signal: giveUp.signal }).then(() => {
        throw new Error(`the container engine has not answered within ${ENGINE_ANSWER_MS / 1000} s`)
      })
      await Promise.race([engine.ping(), late])
      if (!this.engineHealthy) this.engineReturned()
    } catch (error) {
      if (this.engineHealthy) {
        log.error({ err: error }, 'the container engine does not answer; instances run on')
        this.link.nudge()
      }
      this.engineHealthy = false
    } finally {
      giveUp.abort()
    }
  }

  /** After an absence its network and our rules may be gone. */
  private engineReturned(): void {
    const { engine, log } = this.deps
    log.info('the container engine answers again')
    this.engineHealthy = true
    this.link.nudge()
    engine.prepare().catch((error: unknown) => {
      log.error({ err: error }, 'the container engine is back but not as it was; trying again')
      this.engineHealthy = false
    })
  }

  /** What has to be kept is known once the instances are: a link that asks earlier asks again. */
  private async tidy(): Promise<void> {
    if (this.instances === undefined) return
    await this.tidier.tidy().catch((error: unknown) => this.deps.log.warn({ err: error }, 'tidying failed, it comes again'))
  }

  private async measure(sampler: MetricsSampler): Promise<void> {
    const { engine, sender } = this.deps
    const measured = engine.confinement().disk === 'measured'
    for (const { instance, usage, envelope } of await sampler.sample(this.instances?.all() ?? [], () => sender.nextTimestamp())) {
      sender.send(envelope)
      const limitMb = instance.record.spec.diskMb
      if (measured && usage.diskBytes > limitMb * MIB) await instance.end(`Instance exceeded its disk limit of ${limitMb} MB`)
    }
  }

  private every(ms: number, work: () => Promise<void>): void {
    let busy = false
    this.timers.push(
      setInterval(() => {
        if (busy) return
        busy = true
        void work()
          .catch((error: unknown) => this.deps.log.warn({ err: error }, 'a periodic piece of work failed, it comes again'))
          .finally(() => (busy = false))
      }, ms),
    )
  }
}

/** Changes with each start of the machine. */
const bootId = async (): Promise<string> => (await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '')).trim()
