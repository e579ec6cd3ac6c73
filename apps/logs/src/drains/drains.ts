import type { InstanceMetrics, SyslogDrain, SyslogDrains } from '@bloomery/contracts'
import type { TenantAddressPolicy } from '@bloomery/domain'
import type { Logger } from '@bloomery/telemetry'
import type { Follower, LogStore } from '../segments/log-store.js'
import { Drain, drainId } from './drain.js'
import { readPositions, writePositions, type DrainPosition } from './positions.js'

const SAVE_EVERY_MS = 2_000
/** The sender of lines that drains write about themselves. */
const OWN_SENDER = 0x6472_6169_6e73n

export interface DrainsOptions {
  readonly store: LogStore
  readonly policy: TenantAddressPolicy
  /** File of the positions. */
  readonly path: string
  readonly log: Logger
  readonly stallTimeoutMs?: number
}

/** All drains: those that the api wants, each where it left off. Without the api it goes on with those it knows. */
export class Drains {
  readonly #drains = new Map<string, Drain>()
  /** Known from before, while the api has not said yet whether they are still wanted. Losses are counted meanwhile. */
  readonly #waiting = new Map<string, Follower & { readonly appGuid: string }>()
  #changed = false
  #saves: NodeJS.Timeout | undefined
  #turn: Promise<void> = Promise.resolve()
  #closed = false
  #sequence = Date.now() * 1_000

  constructor(private readonly options: DrainsOptions) {}

  async start(): Promise<void> {
    for (const [id, { appGuid, position, lost }] of await readPositions(this.options.path)) {
      const follower = { appGuid, position, lost }
      this.#waiting.set(id, follower)
      this.options.store.addFollower(appGuid, follower)
    }
    this.#saves = setInterval(() => void this.#save(), SAVE_EVERY_MS)
    this.#saves.unref()
  }

  /** Makes the drains those of this list. Each that is new begins with what its app says from now on. */
  apply(list: SyslogDrains): Promise<void> {
    const turn = this.#turn.then(() => this.#apply(list.drains))
    this.#turn = turn.catch(() => undefined)
    return turn
  }

  note(metrics: InstanceMetrics): void {
    for (const drain of this.#drains.values()) if (drain.drain.appGuid === metrics.sourceId) drain.note(metrics)
  }

  get count(): number {
    return this.#drains.size
  }

  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#saves)
    await this.#turn
    await Promise.all([...this.#drains.values()].map((drain) => drain.close()))
    this.#changed = true
    await this.#save()
  }

  async #apply(list: readonly SyslogDrain[]): Promise<void> {
    if (this.#closed) return
    const wanted = new Map(list.map((drain) => [drainId(drain), drain]))
    for (const [id, drain] of this.#drains) {
      const wish = wanted.get(id)
      if (wish && JSON.stringify(wish) === JSON.stringify(drain.drain)) continue
      this.#drains.delete(id)
      await drain.close()
      // The same address with other certificates, or an app with another name, goes on where it was.
      if (wish) this.#begin(id, wish, { position: drain.delivered, lost: drain.lost })
    }
    for (const [id, wish] of wanted) {
      if (this.#drains.has(id)) continue
      const known = this.#waiting.get(id)
      this.#begin(id, wish, known ?? { position: await this.options.store.newestOf(wish.appGuid), lost: 0 })
    }
    for (const follower of this.#waiting.values()) this.options.store.removeFollower(follower.appGuid, follower)
    this.#waiting.clear()
    this.#changed = true
  }

  #begin(id: string, drain: SyslogDrain, { position, lost }: { position: bigint; lost: number }): void {
    const { store, policy, log, stallTimeoutMs } = this.options
    const begun = new Drain(
      drain,
      { position, lost },
      {
        store,
        policy,
        log,
        tell: (appGuid, text) => this.#tell(appGuid, text),
        moved: () => {
          this.#changed = true
        },
        ...(stallTimeoutMs === undefined ? {} : { stallTimeoutMs }),
      },
    )
    this.#drains.set(id, begun)
    begun.start()
  }

  #tell(appGuid: string, text: string): Promise<void> {
    const timestamp = String(BigInt(Date.now()) * 1_000_000n)
    // Rising also over restarts, or the line would pass for one that is there already.
    this.#sequence = Math.max(this.#sequence + 1, Date.now() * 1_000)
    return this.options.store.append({
      sender: OWN_SENDER,
      sequence: this.#sequence,
      lines: [{ kind: 'log', sourceId: appGuid, instanceId: '0', sourceType: 'LGR', stream: 'ERR', timestamp, text }],
    })
  }

  async #save(): Promise<void> {
    if (!this.#changed) return
    this.#changed = false
    const positions = new Map<string, DrainPosition>(this.#waiting)
    for (const [id, drain] of this.#drains)
      positions.set(id, { appGuid: drain.drain.appGuid, position: drain.delivered, lost: drain.lost })
    await writePositions(this.options.path, positions).catch((error: unknown) => {
      this.#changed = true
      this.options.log.warn({ err: error }, 'the positions of syslog drains could not be kept yet')
    })
  }
}
