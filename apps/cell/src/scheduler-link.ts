import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { CellDesired, CellReport, MachineLeftover, RegisterCell } from '@bloomery/contracts'
import { isStaleLease } from '@bloomery/domain'
import { type SchedulerClient, SchedulerRefusal } from '@bloomery/feeds'
import type { Logger } from '@bloomery/telemetry'

const HEARTBEAT_MS = 5000
const MOST_BACKOFF_MS = 3000
/** Until the next look at a document that waits for a report to be taken note of. */
const UNTOLD_MS = 500
/** The scheduler takes a cell for lost after as long. */
const AWAY_AFTER_MS = 15_000

export interface LinkOptions {
  readonly client: SchedulerClient
  readonly describe: () => Promise<Omit<RegisterCell, 'epoch'>>
  readonly report: () => Promise<Omit<CellReport, 'epoch' | 'appliedRevision'>>
  /**
   * `known`: instances of which the scheduler had heard before it wrote the document. Acted upon when it returns; false when something
   * has to be told first.
   */
  readonly fulfil: (desired: CellDesired, known: ReadonlySet<string>) => boolean
  /** An operator wants what is kept here without need to go. */
  readonly tidy: () => void
  readonly log: Logger
}

/** Keeps the cell and the scheduler in step: registers, reports on every change and as a heartbeat, and waits for wishes. */
export class SchedulerLink {
  private readonly epoch = randomUUID()
  private readonly closing = new AbortController()
  private readonly loops: Promise<void>[] = []
  /** Reported and taken note of. */
  private announced: ReadonlySet<string> = new Set()
  /** Named by the scheduler itself, in this or the last document. */
  private named: ReadonlySet<string> = new Set()
  private applied = ''
  private highestLease = '0'
  private lastContactMs = 0
  private registering: Promise<void> | undefined
  private wake: (() => void) | undefined
  private dirty = false
  private failing = false

  constructor(private readonly options: LinkOptions) {}

  start(highestLease: string): void {
    this.highestLease = highestLease
    this.lastContactMs = Date.now()
    this.loops.push(this.reportLoop(), this.desiredLoop())
  }

  /** Something changed that the scheduler should hear soon. */
  nudge(): void {
    this.dirty = true
    this.wake?.()
  }

  /** Of these droplets, those that no app can be started from any more. */
  async deletedDroplets(sha256s: readonly string[]): Promise<ReadonlySet<string>> {
    await this.ready()
    const answer = await this.options.client.deletedDroplets({ epoch: this.epoch, sha256s: [...sha256s] })
    return new Set(answer.sha256s)
  }

  async tellLeftovers(leftovers: readonly MachineLeftover[], tidied: boolean): Promise<void> {
    await this.ready()
    await this.options.client.tellLeftovers({ epoch: this.epoch, leftovers: [...leftovers], tidied })
  }

  get isSchedulerAway(): boolean {
    return Date.now() - this.lastContactMs > AWAY_AFTER_MS
  }

  async close(): Promise<void> {
    this.closing.abort()
    this.wake?.()
    await Promise.allSettled(this.loops)
    await this.options.client.close()
  }

  private async reportLoop(): Promise<void> {
    const { signal } = this.closing
    for (let failures = 0; !signal.aborted;) {
      this.dirty = false
      try {
        await this.ready()
        const applied = this.applied
        const report = await this.options.report()
        const answer = await this.options.client.report({ ...report, epoch: this.epoch, appliedRevision: applied })
        this.announced = new Set(report.instances.map(({ instanceGuid }) => instanceGuid))
        this.heard(answer.leaseToken)
        if (answer.leftoversAsked === true) this.options.tidy()
        failures = 0
      } catch (error) {
        failures++
        await this.failed(error, failures)
        continue
      }
      if (!this.dirty) await this.pause(HEARTBEAT_MS)
    }
  }

  private async desiredLoop(): Promise<void> {
    const { signal } = this.closing
    let last: CellDesired | undefined
    let complete = true
    for (let failures = 0; !signal.aborted;) {
      try {
        await this.ready()
        const known = new Set([...this.announced, ...this.named])
        // What could not be acted upon yet is asked for again, without waiting for a change.
        const after = complete ? this.applied : ''
        const desired = (await this.options.client.desired({ after, epoch: this.epoch, signal })) ?? last
        failures = 0
        if (desired === undefined) continue
        if (isStaleLease(desired.leaseToken, this.highestLease)) {
          this.options.log.warn({ leaseToken: desired.leaseToken }, 'refused the document of a scheduler that no longer leads')
          await delay(UNTOLD_MS, undefined, { signal })
          continue
        }
        this.heard(desired.leaseToken)
        last = desired
        complete = this.options.fulfil(desired, known)
        for (const { instanceGuid } of desired.instances) known.add(instanceGuid)
        this.named = known
        const changed = this.applied !== desired.revision
        this.applied = desired.revision
        if (changed) this.nudge()
        if (!complete) await delay(UNTOLD_MS, undefined, { signal })
      } catch (error) {
        if (signal.aborted) return
        failures++
        await this.failed(error, failures)
      }
    }
  }

  private ready(): Promise<void> {
    this.registering ??= this.register().catch((error: unknown) => {
      this.registering = undefined
      throw error
    })
    return this.registering
  }

  private async register(): Promise<void> {
    const { leaseToken } = await this.options.client.register({ ...(await this.options.describe()), epoch: this.epoch })
    this.heard(leaseToken)
    this.options.log.info({ epoch: this.epoch }, 'registered with the scheduler')
  }

  private heard(leaseToken: string): void {
    if (!isStaleLease(leaseToken, this.highestLease)) this.highestLease = leaseToken
    this.lastContactMs = Date.now()
    if (this.failing) this.options.log.info('the scheduler answers again')
    this.failing = false
  }

  private async failed(error: unknown, failures: number): Promise<void> {
    const { log } = this.options
    const { signal } = this.closing
    if (signal.aborted) return
    if (error instanceof SchedulerRefusal && error.status === 409) {
      // It lost its memory of us, or a newer agent has come; the answer to the registration tells which.
      log.warn({ reason: error.message }, 'the scheduler does not know this agent; registering again')
      this.registering = undefined
    } else if (!this.failing) {
      this.failing = true
      log.warn({ err: error }, 'the scheduler is out of reach; instances run on')
    }
    const waitMs = Math.min(MOST_BACKOFF_MS, 100 * 2 ** Math.min(failures, 6)) * (0.75 + Math.random() / 2)
    await delay(waitMs, undefined, { signal }).catch(() => undefined)
  }

  private async pause(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.wake = () => {
        clearTimeout(timer)
        resolve()
      }
      if (this.closing.signal.aborted || this.dirty) this.wake()
    })
    this.wake = undefined
  }
}
