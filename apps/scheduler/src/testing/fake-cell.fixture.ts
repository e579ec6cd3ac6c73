import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { CellDesired, CellReported, type NodeIdentity, type SeenInstance, type WantedInstance } from '@bloomery/contracts'
import { dialRole } from '@bloomery/feeds'

export type Behaviour = 'run' | 'crash' | 'hang' | 'platform-fault'

interface Held {
  readonly wanted: WantedInstance
  seen: SeenInstance
}

/** An agent that speaks the real protocol and runs nothing. */
export class FakeCell {
  readonly epoch = randomUUID()
  /** What becomes of a new instance. */
  behave: (wanted: WantedInstance) => Behaviour = () => 'run'
  /** Instance guids in the order in which they were told to stop. */
  readonly stopped: string[] = []
  readonly held = new Map<string, Held>()
  document: CellDesired | undefined
  /** Statuses of refused requests. */
  readonly refusals: number[] = []
  draining = false
  /** By the answer to the latest report. */
  leftoversAsked = false
  #port: number
  #aborted = new AbortController()
  #applied = ''
  #addresses = 0
  #loops: Promise<unknown> | undefined
  readonly #dispatcher

  constructor(
    readonly id: string,
    identity: NodeIdentity,
    port: number,
    readonly options: { zone?: string; memoryMb?: number; maxInstances?: number } = {},
  ) {
    this.#port = port
    this.#dispatcher = dialRole('scheduler', identity, { connections: 8 })
  }

  /** Another scheduler leads. */
  use(port: number): void {
    this.#port = port
  }

  async start(): Promise<this> {
    this.#aborted = new AbortController()
    await this.#until(() => this.register())
    await this.#until(() => this.report())
    this.#loops = Promise.all([this.#poll(), this.#heartbeat()])
    return this
  }

  /** The agent stops speaking; what it holds runs on. */
  async silence(): Promise<void> {
    this.#aborted.abort()
    await this.#loops
  }

  async close(): Promise<void> {
    await this.silence()
    await this.#dispatcher.destroy()
  }

  get running(): SeenInstance[] {
    return [...this.held.values()].map(({ seen }) => seen).filter(({ state }) => state === 'running')
  }

  async register(): Promise<boolean> {
    const { zone = 'z1', memoryMb = 4096, maxInstances = 6_000 } = this.options
    return this.#post('/v1/cells/register', {
      epoch: this.epoch,
      zone,
      address: '10.0.0.1',
      engine: 'fake',
      stacks: ['cflinuxfs4', 'bookworm'],
      memoryMb,
      diskMb: 1_000_000,
      maxInstances,
      version: 'test',
    })
  }

  async report(): Promise<boolean> {
    const answer = await this.#try('/v1/cells/report', {
      epoch: this.epoch,
      appliedRevision: this.#applied,
      instances: [...this.held.values()].map(({ seen }) => seen),
      engineHealthy: true,
      draining: this.draining,
    })
    if (answer?.status !== 200) return false
    this.leftoversAsked = CellReported.parse(answer.json).leftoversAsked ?? false
    return true
  }

  /** Posts something else than the usual. */
  async ask(path: string, value: unknown): Promise<{ status: number; json: unknown }> {
    const { statusCode, body } = await this.#dispatcher.request({
      origin: `https://127.0.0.1:${this.#port}`,
      path,
      method: 'POST',
      body: JSON.stringify(value),
      signal: this.#aborted.signal,
    })
    const text = await body.text()
    return { status: statusCode, json: text === '' ? undefined : JSON.parse(text) }
  }

  async crash(instanceGuid: string, reason = 'APP/PROC/WEB: Exited with status 7'): Promise<void> {
    const held = this.held.get(instanceGuid)!
    held.seen = { ...held.seen, state: 'crashed', routable: false, crashReason: reason, exitStatus: 7 }
    await this.report()
  }

  async #poll(): Promise<void> {
    while (!this.#aborted.signal.aborted) {
      const document = await this.#desired()
      if (document) await this.#apply(document)
      else await delay(20, undefined, { signal: this.#aborted.signal }).catch(() => undefined)
    }
  }

  async #heartbeat(): Promise<void> {
    while (!this.#aborted.signal.aborted) {
      await this.report()
      await delay(200, undefined, { signal: this.#aborted.signal }).catch(() => undefined)
    }
  }

  async #desired(): Promise<CellDesired | undefined> {
    try {
      const { statusCode, body } = await this.#dispatcher.request({
        origin: `https://127.0.0.1:${this.#port}`,
        path: `/v1/cells/desired?after=${this.#applied}&epoch=${this.epoch}`,
        method: 'GET',
        signal: this.#aborted.signal,
        headersTimeout: 30_000,
      })
      const json = await body.json()
      if (statusCode === 200) return CellDesired.parse(json)
      this.refusals.push(statusCode)
    } catch {
      // the scheduler is away; it is asked again
    }
    return undefined
  }

  async #apply(document: CellDesired): Promise<void> {
    this.document = document
    const wanted = new Map(document.instances.map((instance) => [instance.instanceGuid, instance]))
    for (const guid of [...this.held.keys()]) {
      const wish = wanted.get(guid)
      if (wish?.want === 'run') continue
      if (wish) this.stopped.push(guid)
      this.held.delete(guid)
    }
    for (const instance of document.instances)
      if (instance.want === 'run' && !this.held.has(instance.instanceGuid)) this.#begin(instance)
    this.#applied = document.revision
    await this.report()
  }

  #begin(wanted: WantedInstance): void {
    const behaviour = this.behave(wanted)
    const failed = behaviour === 'crash' || behaviour === 'platform-fault'
    const { spec } = wanted
    const seen: SeenInstance = {
      instanceGuid: wanted.instanceGuid,
      processGuid: spec.processGuid,
      specVersion: spec.version,
      index: wanted.index,
      appGuid: spec.appGuid,
      processType: spec.processType,
      specGuid: spec.guid,
      state: behaviour === 'run' ? 'running' : failed ? 'crashed' : 'starting',
      since: new Date().toISOString(),
      routable: behaviour === 'run',
      endpoint: {
        address: `172.30.${this.#addresses >> 8}.${this.#addresses++ & 255}`,
        hostAddress: '10.0.0.1',
        ports: [{ internal: 8080, external: 61_000 + (this.#addresses % 4000) }],
      },
      ...(failed
        ? { crashReason: behaviour === 'crash' ? 'APP/PROC/WEB: Exited with status 1' : 'blob store away', exitStatus: 1 }
        : {}),
      ...(behaviour === 'platform-fault' ? { platformFault: true } : {}),
      memoryMb: spec.memoryMb,
      diskMb: spec.diskMb,
    }
    this.held.set(wanted.instanceGuid, { wanted, seen })
  }

  async #until(act: () => Promise<boolean>): Promise<void> {
    while (!(await act()) && !this.#aborted.signal.aborted) await delay(20)
  }

  async #post(path: string, value: unknown): Promise<boolean> {
    return (await this.#try(path, value))?.status === 200
  }

  /** undefined: it is away; the next heartbeat says it again. */
  async #try(path: string, value: unknown): Promise<{ status: number; json: unknown } | undefined> {
    try {
      const answer = await this.ask(path, value)
      if (answer.status !== 200) this.refusals.push(answer.status)
      return answer
    } catch {
      return undefined
    }
  }
}
