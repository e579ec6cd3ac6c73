import type { Pool } from '@bloomery/database/sql'
import { findOperation } from '../state/operations.js'
import type { OperationRecord } from '../state/records.js'

/** Brings together those who wait for an operation and those who end it. */
export class OperationLog {
  readonly #waiting = new Map<string, Set<() => void>>()

  constructor(private readonly pool: Pool) {}

  ended(id: string): void {
    for (const wake of this.#waiting.get(id) ?? []) wake()
  }

  /** The operation when it has ended, or as it is after the time given. */
  async wait(id: string, timeoutMs: number): Promise<OperationRecord | undefined> {
    const woken = new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs)
      const wakers = this.#waiting.get(id) ?? new Set()
      wakers.add(() => {
        clearTimeout(timer)
        resolve()
      })
      this.#waiting.set(id, wakers)
    })
    // It may have ended before we began to listen.
    const before = await findOperation(this.pool, id)
    if (before?.state === 'in progress') await woken
    this.#waiting.delete(id)
    return before?.state === 'in progress' ? findOperation(this.pool, id) : before
  }
}
