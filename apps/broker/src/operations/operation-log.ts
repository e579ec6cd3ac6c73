import type { Pool } from '@bloomery/database/sql'
import { findOperation } from '../state/operations.js'
import type { OperationRecord } from '../state/records.js'

/** Brings together those who wait for an operation and those who end it. */
export class OperationLog {
  readonly #waiting = new Map<string, Set<(ended: OperationRecord | undefined) => void>>()

  constructor(private readonly pool: Pool) {}

  /** `record`: as it has ended; undefined where this process only has let go of it. */
  ended(id: string, record?: OperationRecord): void {
    for (const wake of this.#waiting.get(id) ?? []) wake(record)
  }

  /** The operation when it has ended, or as it is after the time given. */
  async wait(id: string, timeoutMs: number): Promise<OperationRecord | undefined> {
    const woken = new Promise<OperationRecord | undefined>((resolve) => {
      const timer = setTimeout(() => resolve(undefined), timeoutMs)
      const wakers = this.#waiting.get(id) ?? new Set()
      wakers.add((ended) => {
        clearTimeout(timer)
        resolve(ended)
      })
      this.#waiting.set(id, wakers)
    })
    // It may have ended before we began to listen.
    const before = await findOperation(this.pool, id)
    const ended = before?.state === 'in progress' ? await woken : before
    this.#waiting.delete(id)
    return ended ?? findOperation(this.pool, id)
  }
}
