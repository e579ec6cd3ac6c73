import { randomUUID } from 'node:crypto'
import { CfError } from '@bloomery/contracts'
import { execute, rows, sql, type Database, type OrphanMitigation, type Pool, type Prisma } from '@bloomery/database'
import { endsMitigation, nextMitigationAt } from '@bloomery/domain'
import type { Logger } from '@bloomery/telemetry'
import type { Brokers } from './brokers.js'
import { claim, isDue, type Claim } from './claims.js'
import type { BrokerTarget } from './operation.js'
import { Turns } from './turns.js'

/** A mitigation to be written in the transaction that gives the thing up. It carries all that the delete needs. */
export const newMitigation = (target: BrokerTarget, reason: string): Prisma.OrphanMitigationCreateManyInput => ({
  guid: randomUUID(),
  kind: target.bindingGuid === undefined ? 'instance' : 'binding',
  serviceInstanceGuid: target.instanceGuid,
  bindingGuid: target.bindingGuid ?? null,
  brokerGuid: target.brokerGuid,
  serviceCatalogId: target.serviceId,
  planCatalogId: target.planId,
  reason: reason.slice(0, 1_000),
})

export interface OrphanMitigatorParts {
  readonly db: Database
  readonly pool: Pool
  readonly brokers: Brokers
  readonly log: Logger
  readonly now: () => Date
}
const PER_BROKER = 2
const IN_ALL = 16

/** Removes what brokers may hold though nobody asked to keep it; no user waits for it, and no user is named to the broker. */
export class OrphanMitigator {
  readonly #owner = `api:${process.pid}:${randomUUID()}`
  readonly #running = new Set<Promise<void>>()
  readonly #turns = new Turns(PER_BROKER, IN_ALL)
  #sweep: NodeJS.Timeout | undefined
  #looking = false
  #closed = false

  constructor(private readonly parts: OrphanMitigatorParts) {}

  start(everyMs = 2_000): void {
    this.#sweep = setInterval(() => void this.look(), everyMs)
    this.#sweep.unref()
    void this.look()
  }

  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#sweep)
    await Promise.race([Promise.allSettled([...this.#running]), new Promise((resolve) => setTimeout(resolve, 5_000).unref())])
  }

  /** Takes up what is due. */
  async look(): Promise<void> {
    if (this.#closed || this.#looking || this.#turns.room <= 0) return
    this.#looking = true
    try {
      const due = await rows<{ guid: string; broker_guid: string }>(
        this.parts.pool,
        sql`SELECT guid, broker_guid FROM orphan_mitigations
            WHERE ${isDue('orphan_mitigations')} AND NOT (broker_guid = ANY(${this.#turns.full}))
            ORDER BY next_attempt_at LIMIT ${this.#turns.room}`,
      )
      for (const { guid, broker_guid: broker } of due) {
        if (!this.#turns.take(broker)) continue
        const work = this.#take(guid).finally(() => {
          this.#turns.give(broker)
          this.#running.delete(work)
          // There may be more where this came from.
          void this.look()
        })
        this.#running.add(work)
      }
    } catch (error) {
      this.parts.log.warn({ err: error }, 'orphans could not be looked up, will try again')
    } finally {
      this.#looking = false
    }
  }

  async #take(guid: string): Promise<void> {
    let held: Claim | undefined
    try {
      held = await claim(this.parts.pool, 'orphan_mitigations', guid, this.#owner)
      const row = held && (await this.parts.db.orphanMitigation.findUnique({ where: { guid } }))
      if (held && row?.claimToken === held.token) await this.#mitigate(row, held)
    } catch (error) {
      if (!held?.signal.aborted)
        this.parts.log.warn({ err: error, mitigation: guid }, 'an orphan could not be removed, will try again')
    } finally {
      held?.release()
    }
  }

  async #mitigate(row: OrphanMitigation, held: Claim): Promise<void> {
    const { db, log } = this.parts
    const problem = await this.#remove(row, held.signal)
    const where = { guid: row.guid, claimToken: held.token }
    const about = { mitigation: row.guid, kind: row.kind, instance: row.serviceInstanceGuid, binding: row.bindingGuid }
    if (problem === undefined) {
      await db.orphanMitigation.deleteMany({ where })
      log.info(about, 'an orphan was removed')
      return
    }
    const attempts = row.attempts + 1
    const next = nextMitigationAt(attempts, this.parts.now())
    log.warn(
      { ...about, attempts, problem },
      next ? 'an orphan could not be removed, will try again' : 'an orphan is given up; remove it at the broker',
    )
    await execute(
      this.parts.pool,
      sql`UPDATE orphan_mitigations SET attempts = ${attempts}, last_error = ${problem.slice(0, 1_000)}, claimed_by = NULL, claim_expires_at = NULL,
            next_attempt_at = ${next ?? this.parts.now()}, given_up_at = ${next ? null : this.parts.now()}
          WHERE guid = ${row.guid} AND claim_token = ${held.token}`,
    )
  }

  /** Undefined: it is gone, or sure to go. */
  async #remove(row: OrphanMitigation, signal: AbortSignal): Promise<string | undefined> {
    const plan = { serviceId: row.serviceCatalogId, planId: row.planCatalogId }
    try {
      const client = await this.parts.brokers.of(row.brokerGuid)
      const outcome =
        row.bindingGuid === null
          ? await client.deprovision(row.serviceInstanceGuid, plan, { signal })
          : await client.unbind(row.serviceInstanceGuid, row.bindingGuid, plan, { signal })
      return endsMitigation(outcome) || outcome.kind !== 'failed' ? undefined : outcome.message
    } catch (error) {
      if (error instanceof CfError) return error.message
      throw error
    }
  }
}
