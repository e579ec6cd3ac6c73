import type { CellDesired, SeenInstance, WantedInstance } from '@bloomery/contracts'
import { isRestartDue, planCell } from '@bloomery/domain'
import { newInstanceGuid } from './instance-guid.js'
import { Instance, type InstanceSurroundings, type StartInput } from './instance.js'
import { type InstanceRecord, seenOf } from './instance-record.js'
import { RECORD_LABEL } from './container-spec.js'

/** All instances of this cell, and what is done about the scheduler's wishes. */
export class Instances {
  private readonly held = new Map<string, Instance>()
  private readonly leaving = new Set<string>()
  private readonly inputs = new Map<string, StartInput>()
  /** Instances that were restarted by the cell itself, and by which: their wish is fulfilled by another. */
  private readonly replaced = new Map<string, string>()

  constructor(
    private readonly around: InstanceSurroundings,
    private readonly bootId: string,
  ) {}

  all(): Instance[] {
    return [...this.held.values()]
  }

  /** Those whose program runs still, or is about to. */
  withPrograms(): string[] {
    return this.all()
      .filter(({ record }) => record.state !== 'crashed')
      .map(({ guid }) => guid)
  }

  /** Where an instance listens that has this port. */
  addressOf(instanceGuid: string, port: number): { readonly host: string; readonly port: number } | undefined {
    const endpoint = this.held.get(instanceGuid)?.record.endpoint
    return endpoint?.ports.some(({ internal }) => internal === port) ? { host: endpoint.address, port } : undefined
  }

  seen(): SeenInstance[] {
    return this.all().map(({ record }) => seenOf(record))
  }

  /** Takes over what an earlier agent left; restarts nothing. */
  async adopt(): Promise<void> {
    const { engine, records, sender, log } = this.around
    const found = new Map((await engine.list('instance')).map((container) => [container.name, container]))
    const known = new Map((await records.readAll()).map((record) => [record.instanceGuid, record]))
    for (const [name, container] of found) {
      const label = container.labels[RECORD_LABEL]
      if (!known.has(name) && label !== undefined) known.set(name, JSON.parse(label) as InstanceRecord)
      if (!known.has(name) || container.status.state === 'created') {
        log.info({ name }, 'removing a container that was never started')
        await engine.remove(name)
        found.delete(name)
        known.delete(name)
        await records.remove(name)
      }
    }
    for (const record of known.values()) {
      const container = found.get(record.instanceGuid)
      if (container === undefined && record.state !== 'crashed') {
        // Stopped with the platform or removed by hand: if it is still wanted, it is started like a new one.
        sender.forgetCursor(record.instanceGuid)
        await records.remove(record.instanceGuid)
        continue
      }
      const rebooted = record.bootId !== this.bootId && container?.status.state === 'exited'
      if (rebooted) {
        await engine.remove(record.instanceGuid)
        await records.remove(record.instanceGuid)
        continue
      }
      const instance = new Instance(record, this.around)
      this.held.set(record.instanceGuid, instance)
      if (record.replaces !== undefined) this.replaced.set(record.replaces, record.instanceGuid)
      instance.adopt(container)
      if (record.state === 'stopping') this.leave(record.instanceGuid, (one) => one.stop())
    }
    log.info({ instances: this.held.size }, 'took over what runs on this cell')
  }

  /**
   * `known`: guids that the scheduler had heard of before it wrote this document. False when others are neither named nor known: they
   * have to be reported before the silence about them means anything.
   */
  fulfil(desired: CellDesired, known: ReadonlySet<string>): boolean {
    const wanted = desired.instances.filter(({ instanceGuid }) => !this.replaced.has(instanceGuid))
    const byGuid = new Map(wanted.map((one) => [one.instanceGuid, one]))
    const held = this.all()
      .filter(({ guid }) => !this.leaving.has(guid))
      .map(({ guid, record }) => ({ instanceGuid: guid, state: record.state, announced: known.has(guid) }))
    const plan = planCell(wanted, held)
    for (const guid of plan.start) {
      const one = byGuid.get(guid)
      if (one !== undefined && !this.leaving.has(guid)) this.begin(one)
    }
    for (const guid of plan.stop) this.leave(guid, (instance) => instance.stop())
    for (const guid of plan.forget) this.leave(guid, (instance) => instance.forget())
    const named = new Set(desired.instances.map(({ instanceGuid }) => instanceGuid))
    for (const old of this.replaced.keys()) if (!named.has(old)) this.replaced.delete(old)
    for (const guid of this.inputs.keys()) if (!named.has(guid) && !this.held.has(guid)) this.inputs.delete(guid)
    for (const one of wanted)
      if (one.want === 'run' && this.held.has(one.instanceGuid)) this.inputs.set(one.instanceGuid, inputOf(one))
    return held.every(({ instanceGuid, announced }) => announced || named.has(instanceGuid))
  }

  /** Restarts crashed instances by the platform's own crash policy; only for while nobody else can decide. */
  restartLocally(desired: CellDesired, now: Date): void {
    const wantedHere = new Set(desired.instances.filter(({ want }) => want === 'run').map(({ instanceGuid }) => instanceGuid))
    for (const { guid, record } of this.all()) {
      const input = this.inputs.get(guid)
      const claimed = wantedHere.has(guid) || record.restartedLocally === true
      if (record.state !== 'crashed' || input === undefined || !claimed || this.leaving.has(guid)) continue
      const crashCount = (record.localCrashes ?? 0) + 1
      if (!isRestartDue({ crashCount, crashedAt: new Date(record.since), now })) continue
      const next: InstanceRecord = {
        ...this.newRecord(
          newInstanceGuid(),
          record.index,
          input.command === undefined ? record.spec : { ...record.spec, command: input.command },
          record.dropletSha256,
        ),
        restartedLocally: true,
        localCrashes: crashCount,
        replaces: record.replaces ?? guid,
      }
      this.replaced.set(record.replaces ?? guid, next.instanceGuid)
      this.replaced.set(guid, next.instanceGuid)
      this.inputs.set(next.instanceGuid, input)
      this.around.log.warn(
        { instanceGuid: guid, next: next.instanceGuid, crashCount },
        'the scheduler is out of reach: restarting a crashed instance',
      )
      this.leave(guid, (instance) => instance.forget())
      this.held.delete(guid)
      this.run(next, input)
    }
  }

  async pause(): Promise<void> {
    await Promise.all(this.all().map((instance) => instance.pause()))
  }

  private begin(wanted: WantedInstance): void {
    const { instanceGuid, index, spec, droplet } = wanted
    this.around.sender.forgetCursor(instanceGuid)
    const input = inputOf(wanted)
    this.inputs.set(instanceGuid, input)
    this.run(this.newRecord(instanceGuid, index, spec, droplet.sha256), input)
  }

  private run(record: InstanceRecord, input: StartInput): void {
    const instance = new Instance(record, this.around)
    this.held.set(record.instanceGuid, instance)
    instance.start(input)
    this.around.changed()
  }

  private newRecord(instanceGuid: string, index: number, spec: WantedInstance['spec'], dropletSha256: string): InstanceRecord {
    const { bootId } = this
    return {
      instanceGuid,
      index,
      spec,
      dropletSha256,
      bootId,
      state: 'starting',
      since: new Date().toISOString(),
      routable: false,
    }
  }

  private leave(guid: string, how: (instance: Instance) => Promise<void>): void {
    const instance = this.held.get(guid)
    if (instance === undefined || this.leaving.has(guid)) return
    this.leaving.add(guid)
    void how(instance)
      .catch((error: unknown) => this.around.log.error({ err: error, instanceGuid: guid }, 'an instance could not be taken away'))
      .finally(() => {
        this.leaving.delete(guid)
        if (this.held.get(guid) === instance) this.held.delete(guid)
        this.around.changed()
      })
  }
}

const inputOf = ({ environment, files, droplet, spec }: WantedInstance): StartInput => ({
  environment: environment ?? {},
  files,
  dropletUrl: droplet.url,
  dropletBytes: droplet.sizeBytes,
  command: spec.command,
})
