import { randomUUID } from 'node:crypto'
import { CfError } from '@bloomery/contracts'
import { rows, sql, type Prisma, type ServiceOperation, type Transaction } from '@bloomery/database'
import type { Keyring } from '@bloomery/secrets'
import { JobActor } from '../jobs/jobs.js'
import { claim, isDue, type Claim } from './claims.js'
import type { NewOperation, OperatedResource, Operation, OperationHandler, OperationType } from './operation.js'
import { OperationSteps, type OperationStepsParts } from './operation-steps.js'
import { Turns } from './turns.js'

/** Where an operation's parameters are bound to in the keyring. */
export const operationParamsContext = (guid: string): string => `service-operation:${guid}`

export interface ServiceOperationsParts extends OperationStepsParts {
  readonly keyring: Keyring
  /** Steps at once for each broker. */
  readonly perBroker: number
}

const STEPS_IN_ALL = 64
/** Until what failed for no fault of a broker (the database, a bug) is tried again. */
const RETRY_MS = 5_000

/** Takes up the work that service brokers are asked for, each row by one process at a time; see the README beside it. */
export class ServiceOperations {
  readonly #handlers = new Map<string, OperationHandler<never>>()
  readonly #owner = `api:${process.pid}:${randomUUID()}`
  readonly #running = new Set<Promise<void>>()
  readonly #turns: Turns
  readonly #steps: OperationSteps
  #sweep: NodeJS.Timeout | undefined
  #looking = false
  #lookAgain = false
  #closed = false

  constructor(private readonly parts: ServiceOperationsParts) {
    this.#turns = new Turns(parts.perBroker, STEPS_IN_ALL)
    this.#steps = new OperationSteps(parts)
  }

  /** Declares a kind of work once, at start. */
  register<Params>(resource: OperatedResource, type: OperationType, handler: OperationHandler<Params>): void {
    const name = `${resource}.${type}`
    if (this.#handlers.has(name)) throw new Error(`The service operation ${name} is declared twice.`)
    // Its params come back through its own schema.
    this.#handlers.set(name, handler as unknown as OperationHandler<never>)
  }

  /** Writes the work, and the job that tells of it; call `kick()` once that has committed. What is under way already is left as it is. */
  async enqueue(tx: Transaction, wanted: NewOperation): Promise<{ readonly jobGuid: string | undefined }> {
    const { job, params, actor, ...row } = wanted
    const handler = this.#handlerOf(wanted.resourceType, wanted.type)
    const guid = randomUUID()
    const jobGuid = job && (await this.parts.jobs.follow(tx, { ...job, actor: wanted.actor, resourceGuid: wanted.resourceGuid }))
    const { count } = await tx.serviceOperation.createMany({
      data: [
        {
          ...row,
          guid,
          jobGuid: jobGuid ?? null,
          actor: { ...actor },
          paramsEncrypted: {
            ...this.parts.keyring.encryptJson(handler.params.parse(params), operationParamsContext(guid)),
          },
        },
      ],
      skipDuplicates: true,
    })
    if (count === 0 && jobGuid !== undefined)
      throw new CfError('UnprocessableEntity', 'There is an operation in progress for the service instance.')
    return { jobGuid }
  }

  /** Ends work that has no more sense, and says why to whoever follows it. */
  async cancel(
    tx: Transaction,
    which: { resourceType: OperatedResource; resourceGuid: string; type?: OperationType },
    error: CfError,
  ): Promise<void> {
    await this.#cancel(tx, which, error)
  }

  /** Ends all work on an instance and its bindings. */
  async cancelAll(tx: Transaction, serviceInstanceGuid: string, error: CfError): Promise<void> {
    await this.#cancel(tx, { serviceInstanceGuid }, error)
  }

  async #cancel(tx: Transaction, where: Prisma.ServiceOperationWhereInput, error: CfError): Promise<void> {
    const found = await tx.serviceOperation.findMany({ where })
    if (found.length === 0) return
    await tx.serviceOperation.deleteMany({ where: { guid: { in: found.map(({ guid }) => guid) } } })
    for (const { jobGuid } of found) if (jobGuid !== null) await this.parts.jobs.settle(tx, jobGuid, { state: 'FAILED', error })
  }

  /** Looks for work now. */
  kick(): void {
    void this.#look()
  }

  start(everyMs = 1_000): void {
    this.#sweep = setInterval(() => this.kick(), everyMs)
    this.#sweep.unref()
    this.kick()
  }

  /** Takes nothing more, and lets what runs come to an end; what does not is taken up by others. */
  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#sweep)
    await Promise.race([Promise.allSettled([...this.#running]), new Promise((resolve) => setTimeout(resolve, 5_000).unref())])
  }

  #handlerOf(resource: string, type: string): OperationHandler<never> {
    const handler = this.#handlers.get(`${resource}.${type}`)
    if (!handler) throw new Error(`The service operation ${resource}.${type} is not declared.`)
    return handler
  }

  /** One look at a time; a kick during one makes it look once more. */
  async #look(): Promise<void> {
    if (this.#looking) {
      this.#lookAgain = true
      return
    }
    this.#looking = true
    try {
      do {
        this.#lookAgain = false
        await this.#takeDue()
      } while (this.#lookAgain && !this.#closed)
    } catch (error) {
      this.parts.log.warn({ err: error }, 'service operations could not be looked up, will try again')
    } finally {
      this.#looking = false
    }
  }

  /** Brokers take turns: of each the work that is due longest comes first. */
  async #takeDue(): Promise<void> {
    if (this.#closed || this.#turns.room <= 0) return
    const due = await rows<{ guid: string; broker: string }>(
      this.parts.pool,
      sql`SELECT guid, broker FROM (
            SELECT guid, COALESCE(broker_guid, '') AS broker, next_run_at,
                   row_number() OVER (PARTITION BY broker_guid ORDER BY next_run_at, guid) AS turn
            FROM service_operations
            WHERE ${isDue('service_operations')} AND NOT (COALESCE(broker_guid, '') = ANY(${this.#turns.full}))
          ) waiting WHERE turn <= ${this.parts.perBroker} ORDER BY turn, next_run_at LIMIT ${this.#turns.room}`,
    )
    for (const { guid, broker } of due) {
      if (!this.#turns.take(broker)) continue
      const step = this.#take(guid).finally(() => {
        this.#turns.give(broker)
        this.#running.delete(step)
        // There may be more where this came from.
        this.kick()
      })
      this.#running.add(step)
    }
  }

  async #take(guid: string): Promise<void> {
    const { parts } = this
    let held: Claim | undefined
    try {
      held = await claim(parts.pool, 'service_operations', guid, this.#owner)
      if (!held) return
      const row = await parts.db.serviceOperation.findUnique({ where: { guid } })
      if (row?.claimToken !== held.token) return
      const handler = this.#handlerOf(row.resourceType, row.type)
      const work = { row, handler, claim: held, operation: this.#read(row, handler) }
      try {
        await this.#steps.take(work)
      } catch (error) {
        const refusal = this.#refusalOf(row, error)
        if (!refusal || held.signal.aborted) throw error
        await this.#steps.fail(work, { error: refusal, description: refusal.message })
      }
    } catch (error) {
      if (held?.signal.aborted) return
      parts.log.error({ err: error, operation: guid }, 'a step of a service operation failed, will be tried again')
      if (held) await this.#steps.again(held, RETRY_MS).catch(() => undefined)
    } finally {
      held?.release()
    }
  }

  /** What will not heal: a refusal of our own, or faults for longer than any operation may take. */
  #refusalOf(row: ServiceOperation, error: unknown): CfError | undefined {
    if (error instanceof CfError) return error
    const tooLate = row.createdAt.getTime() + this.parts.polling.maxDurationSeconds * 1_000 < this.parts.now().getTime()
    return tooLate ? new CfError('UnableToPerform', `${row.type} could not be completed: it took too long`) : undefined
  }

  #read(row: ServiceOperation, handler: OperationHandler<never>): Operation<never> {
    return {
      guid: row.guid,
      resourceType: row.resourceType as OperatedResource,
      resourceGuid: row.resourceGuid,
      serviceInstanceGuid: row.serviceInstanceGuid,
      type: row.type as OperationType,
      params: this.parts.keyring.decryptJson(row.paramsEncrypted, operationParamsContext(row.guid), handler.params),
      actor: JobActor.parse(row.actor),
      createdAt: row.createdAt,
      sentBefore: row.sentAt !== null,
    }
  }
}
