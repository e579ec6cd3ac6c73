import { setTimeout as delay } from 'node:timers/promises'
import { guardLease, type Lease, type Pool, type PoolClient, transaction } from '@bloomery/database/sql'
import type { Logger } from '@bloomery/telemetry'
import { ServiceFault } from '../engines/engine.js'
import { allOpenOperations, finishOperation, forgetOldOperations } from '../state/operations.js'
import type { OperationRecord } from '../state/records.js'
import type { OperationLog } from './operation-log.js'
import { runnable } from './runnable.js'

const LOOK_EVERY_MS = 5_000
const PARALLEL = 8
const FORGET_EVERY_MS = 3_600_000

/** One operation's work. `record` writes under the runner's lease and throws when that is lost. */
export interface OperationContext {
  readonly signal: AbortSignal
  record<T>(write: (tx: PoolClient) => Promise<T>): Promise<T>
}
export interface Performer {
  /** Does it, from whatever stage it was left at. Answers what to write in the transaction that ends it. */
  perform(operation: OperationRecord, context: OperationContext): Promise<(tx: PoolClient) => Promise<void>>
  /** Cleans up after a failure and answers what to write with it. */
  fail(operation: OperationRecord, context: OperationContext): Promise<(tx: PoolClient) => Promise<void>>
}

class LeaseLost extends Error {
  override readonly name = 'LeaseLost'
}

/** Works on operations: those asked for now, and those that a dead broker left. */
export class OperationRunner {
  readonly #running = new Map<string, { readonly abort: AbortController; readonly done: Promise<void> }>()
  #wake: () => void = () => undefined

  constructor(
    private readonly pool: Pool,
    private readonly performer: Performer,
    private readonly operations: OperationLog,
    private readonly log: Logger,
  ) {}

  /** There may be something to do. */
  nudge(): void {
    this.#wake()
  }

  async lead(lease: Lease, signal: AbortSignal): Promise<void> {
    let forgotten = 0
    while (!signal.aborted) {
      const woken = new Promise<void>((resolve) => (this.#wake = resolve))
      await this.#pass(lease, signal)
      if (Date.now() - forgotten > FORGET_EVERY_MS) {
        await forgetOldOperations(this.pool)
        forgotten = Date.now()
      }
      const pause = new AbortController()
      await Promise.race([
        woken,
        delay(LOOK_EVERY_MS, undefined, { signal: AbortSignal.any([signal, pause.signal]) }).catch(() => undefined),
      ])
      pause.abort()
    }
    for (const { abort } of this.#running.values()) abort.abort()
    await Promise.all([...this.#running.values()].map(({ done }) => done))
  }

  async #pass(lease: Lease, signal: AbortSignal): Promise<void> {
    // Taken before the rows are read: what ends meanwhile may still be open in them, and must not be done again.
    const busy = new Set(this.#running.keys())
    const open = await allOpenOperations(this.pool)
    for (const { id, cancelled } of open) if (cancelled) this.#running.get(id)?.abort.abort()
    for (const operation of runnable(open, busy, PARALLEL)) {
      const abort = new AbortController()
      const done = this.#run(operation, lease, signal, AbortSignal.any([signal, abort.signal])).then((ended) => {
        this.#running.delete(operation.id)
        this.operations.ended(operation.id, ended)
        this.#wake()
      })
      this.#running.set(operation.id, { abort, done })
    }
  }

  /** Answers how it has ended well; undefined where only the database can tell. Never rejects. */
  async #run(
    operation: OperationRecord,
    lease: Lease,
    leading: AbortSignal,
    signal: AbortSignal,
  ): Promise<OperationRecord | undefined> {
    const about = {
      operation: operation.id,
      kind: operation.kind,
      instance: operation.instanceGuid,
      binding: operation.bindingGuid,
    }
    const context: OperationContext = {
      signal,
      record: (write) =>
        transaction(this.pool, async (tx) => {
          if (!(await guardLease(tx, lease))) throw new LeaseLost('another broker has taken over')
          return write(tx)
        }),
    }
    try {
      if (operation.cancelled) throw new ServiceFault('It was given up for a later request.')
      const settle = await this.performer.perform(operation, context)
      await context.record(async (tx) => {
        await settle(tx)
        await finishOperation(tx, operation.id, 'succeeded', null)
      })
      this.log.info(about, 'done')
      return { ...operation, state: 'succeeded', description: null }
    } catch (error) {
      if (error instanceof LeaseLost || leading.aborted) this.log.info(about, 'left to the next broker')
      else await this.#fail(operation, error, context, about)
      return undefined
    }
  }

  async #fail(operation: OperationRecord, error: unknown, context: OperationContext, about: object): Promise<void> {
    const told = error instanceof ServiceFault
    this.log[told ? 'info' : 'error']({ ...about, err: error }, 'failed')
    const description = told
      ? error.message
      : `An internal error of the service broker; its log says more about operation ${operation.id}.`
    try {
      const settle = await this.performer.fail(operation, context)
      await context.record(async (tx) => {
        await settle(tx)
        await finishOperation(tx, operation.id, 'failed', description)
      })
    } catch (failure) {
      // Still in progress: the next pass, or the next broker, tries again.
      this.log.warn({ ...about, err: failure }, 'could not be settled yet')
      await delay(1_000, undefined, { signal: context.signal }).catch(() => undefined)
    }
  }
}
