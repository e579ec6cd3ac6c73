import { randomUUID } from 'node:crypto'
import { CfError } from '@bloomery/contracts'
import {
  execute,
  rows,
  sql,
  type Database,
  type Pool,
  type Prisma,
  type ServiceOperation,
  type Transaction,
} from '@bloomery/database'
import {
  afterAnswer,
  afterDeadline,
  afterPoll,
  deadlineMessage,
  nextPollAt,
  pollingDeadline,
  type PollingRules,
} from '@bloomery/domain'
import type { Failure } from '@bloomery/osb'
import type { Keyring } from '@bloomery/secrets'
import type { Logger } from '@bloomery/telemetry'
import { JobActor, type Jobs } from '../jobs/jobs.js'
import { askBroker, fetchMade, pollBroker, type Question } from './ask-broker.js'
import { unableTo } from './broker-errors.js'
import type { Brokers } from './brokers.js'
import { claim, UNCLAIMED, type Claim } from './claims.js'
import type {
  BrokerAnswer,
  NewOperation,
  OperatedResource,
  Operation,
  OperationFailure,
  OperationHandler,
  OperationType,
  Step,
} from './operation.js'
import { newMitigation } from './orphan-mitigator.js'
import { Turns } from './turns.js'

/** Where an operation's parameters are bound to in the keyring. */
export const operationParamsContext = (guid: string): string => `service-operation:${guid}`

export interface ServiceOperationsParts {
  readonly db: Database
  readonly pool: Pool
  readonly keyring: Keyring
  readonly jobs: Jobs
  readonly brokers: Brokers
  readonly log: Logger
  readonly now: () => Date
  readonly polling: PollingRules
  /** Steps at once for each broker. */
  readonly perBroker: number
}
type Asking = Extract<Step, { kind: 'ask' }>
interface Work {
  readonly row: ServiceOperation
  readonly operation: Operation<never>
  readonly handler: OperationHandler<never>
  readonly claim: Claim
}

const STEPS_IN_ALL = 64
/** Until what failed for no fault of a broker (the database, a bug) is tried again. */
const RETRY_MS = 5_000

/** Does the work that service brokers are asked for; see the README beside it. */
export class ServiceOperations {
  readonly #handlers = new Map<string, OperationHandler<never>>()
  readonly #owner = `api:${process.pid}:${randomUUID()}`
  readonly #running = new Set<Promise<void>>()
  readonly #turns: Turns
  #sweep: NodeJS.Timeout | undefined
  #looking = false
  #lookAgain = false
  #closed = false

  constructor(private readonly parts: ServiceOperationsParts) {
    this.#turns = new Turns(parts.perBroker, STEPS_IN_ALL)
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
            WHERE next_run_at <= clock_timestamp() AND ${UNCLAIMED} AND NOT (COALESCE(broker_guid, '') = ANY(${this.#turns.full}))
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
        await this.#step(work)
      } catch (error) {
        const refusal = this.#refusalOf(row, error)
        if (!refusal || held.signal.aborted) throw error
        await this.#fail(work, { error: refusal, description: refusal.message, instanceUsable: true })
      }
    } catch (error) {
      if (held?.signal.aborted) return
      parts.log.error({ err: error, operation: guid }, 'a step of a service operation failed, will be tried again')
      if (held) await this.#again(held, RETRY_MS).catch(() => undefined)
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

  async #step(work: Work): Promise<void> {
    const step = await work.handler.plan(work.operation)
    switch (step.kind) {
      case 'wait':
        await this.#tellWaiting(work)
        return this.#again(work.claim, step.afterMs)
      case 'done':
        return this.#complete(work, {})
      case 'refuse':
        return this.#fail(work, { error: step.error, description: step.error.message, instanceUsable: true })
      case 'ask':
        return work.row.phase === 'polling' ? this.#poll(work, step) : this.#request(work, step)
    }
  }

  /** What others must finish first may take as long as they like: whoever does not want to wait need not. */
  async #tellWaiting(work: Work): Promise<void> {
    const { jobGuid } = work.row
    if (jobGuid === null) return
    const told = await execute(
      this.parts.pool,
      sql`UPDATE jobs SET state = 'POLLING', updated_at = now() WHERE guid = ${jobGuid} AND state = 'PROCESSING'`,
    )
    if (told > 0) this.#announce(work)
  }

  async #request(work: Work, step: Asking): Promise<void> {
    const { row, operation } = work
    // From here on the broker may know of it, whatever becomes of us.
    const marked = await execute(
      this.parts.pool,
      sql`UPDATE service_operations SET sent_at = COALESCE(sent_at, clock_timestamp()), updated_at = now()
          WHERE guid = ${row.guid} AND claim_token = ${work.claim.token}`,
    )
    if (marked === 0) return
    const question = await this.#questionOf(work, step)
    const outcome = await askBroker(question)
    const next = afterAnswer(step.request.operation, outcome, operation.sentBefore)
    if (outcome.kind === 'failed' && next !== 'poll') return this.#failAsked(work, step, outcome, next === 'fail and mitigate')
    if (outcome.kind === 'done') return this.#inspected(work, step, outcome.answer)
    if (outcome.kind === 'in progress' && step.request.operation === 'bind' && !step.fetch) {
      // Its credentials could never be read.
      const description = 'The service broker responded asynchronously but does not support fetching binding data.'
      return this.#fail(
        work,
        { error: new CfError('ServiceBrokerBadResponse', description), description, instanceUsable: true },
        step,
      )
    }
    const answer: BrokerAnswer = outcome.kind === 'in progress' ? outcome.answer : {}
    await this.#startPolling(work, step, answer, outcome.kind === 'in progress' ? outcome.retryAfterSeconds : undefined)
  }

  async #startPolling(work: Work, step: Asking, answer: BrokerAnswer, retryAfterSeconds: number | undefined): Promise<void> {
    const { parts } = this
    const situation = {
      polls: 0,
      retryAfterSeconds,
      startedAt: work.row.createdAt,
      now: parts.now(),
      maximumPollingSeconds: step.target.maximumPollingSeconds,
    }
    const at = nextPollAt(situation, parts.polling)
    await this.#guarded(work, async (tx) => {
      await tx.serviceOperation.update({
        where: { guid: work.row.guid },
        data: {
          phase: 'polling',
          brokerOperation: answer.operation ?? null,
          polls: 0,
          // Even where that is over before it has begun, the operation is seen as taken up first.
          nextRunAt: at ?? situation.now,
          deadlineAt: pollingDeadline(situation, parts.polling),
          claimedBy: null,
          claimExpiresAt: null,
        },
      })
      await work.handler.started(tx, work.operation, answer)
      if (work.row.jobGuid !== null) await parts.jobs.settle(tx, work.row.jobGuid, { state: 'POLLING' })
    })
    this.#announce(work)
  }

  async #poll(work: Work, step: Asking): Promise<void> {
    const { row, handler, operation } = work
    const { parts } = this
    const request = step.request.operation
    const poll = await pollBroker(await this.#questionOf(work, step), row.brokerOperation ?? undefined)
    const next = afterPoll(request, poll)
    if (poll.kind === 'unknown') parts.log.warn({ operation: row.guid, answer: poll.message }, 'a poll brought no state')
    let retryAfterSeconds = poll.kind === 'gone' ? undefined : poll.retryAfterSeconds
    if (next === 'complete') {
      const said = poll.kind === 'state' && poll.description !== undefined ? { description: poll.description } : {}
      if (!step.fetch) return this.#inspected(work, step, said)
      const made = await fetchMade(await this.#questionOf(work, step))
      if (made.kind === 'done') return this.#inspected(work, step, { ...made.answer, ...said })
      // An instance is there without it; a binding is its credentials, and what may heal is asked for again.
      if (step.request.operation !== 'bind') return this.#inspected(work, step, said)
      if (!mayHeal(made)) return this.#failAsked(work, step, made, true)
      retryAfterSeconds = undefined
    } else if (next !== 'poll') {
      const said = poll.kind === 'state' ? poll.description : undefined
      const description = said ?? `The service broker could not ${request}.`
      return this.#fail(
        work,
        {
          error: unableTo(request, description),
          description,
          instanceUsable: poll.kind !== 'state' || poll.instanceUsable !== false,
        },
        next === 'fail and mitigate' ? step : undefined,
      )
    }
    const situation = {
      polls: row.polls + 1,
      retryAfterSeconds,
      startedAt: row.createdAt,
      now: parts.now(),
      maximumPollingSeconds: step.target.maximumPollingSeconds,
    }
    const at = nextPollAt(situation, parts.polling)
    if (!at) {
      const description = deadlineMessage(request)
      return this.#fail(
        work,
        { error: unableTo(request, description), description, instanceUsable: true },
        afterDeadline(request) === 'fail and mitigate' ? step : undefined,
      )
    }
    await this.#guarded(work, async (tx) => {
      await tx.serviceOperation.update({
        where: { guid: row.guid },
        data: { polls: row.polls + 1, nextRunAt: at, claimedBy: null, claimExpiresAt: null },
      })
      if (poll.kind === 'state' && poll.description !== undefined) await handler.progressed(tx, operation, poll.description)
    })
  }

  /** A successful answer may still have a fault of its own. */
  async #inspected(work: Work, step: Asking, answer: BrokerAnswer): Promise<void> {
    const fault = await work.handler.inspect?.(work.operation, answer)
    if (!fault) return this.#complete(work, answer)
    const orphans = step.request.operation === 'provision' || step.request.operation === 'bind'
    return this.#fail(work, { error: fault, description: fault.message, instanceUsable: true }, orphans ? step : undefined)
  }

  async #questionOf(work: Work, step: Asking): Promise<Question> {
    return {
      client: await this.parts.brokers.of(step.target.brokerGuid),
      step,
      call: { userGuid: work.operation.actor.guid, signal: work.claim.signal },
    }
  }

  #failAsked(work: Work, step: Asking, failure: Failure, mitigate: boolean): Promise<void> {
    return this.#fail(
      work,
      {
        error: unableTo(step.request.operation, failure.message),
        description: failure.message,
        instanceUsable: failure.instanceUsable !== false,
      },
      mitigate ? step : undefined,
    )
  }

  async #complete(work: Work, answer: BrokerAnswer): Promise<void> {
    const done = await this.#ended(work, async (tx) => {
      await work.handler.completed(tx, work.operation, answer)
      if (work.row.jobGuid !== null) await this.parts.jobs.settle(tx, work.row.jobGuid, { state: 'COMPLETE' })
    })
    if (done) this.#announce(work)
  }

  /** `mitigate`: what may have been made is to be removed; that is written together with the failure. */
  async #fail(work: Work, failure: OperationFailure, mitigate?: Asking): Promise<void> {
    const { parts } = this
    const { row, operation } = work
    parts.log.info(
      {
        operation: row.guid,
        resource: `${row.resourceType}:${row.resourceGuid}`,
        type: row.type,
        mitigate: mitigate !== undefined,
        detail: failure.description,
      },
      'service operation failed',
    )
    const done = await this.#ended(work, async (tx) => {
      await work.handler.failed(tx, operation, failure)
      if (mitigate) await tx.orphanMitigation.create({ data: newMitigation(mitigate.target, failure.description) })
      if (row.jobGuid !== null) await parts.jobs.settle(tx, row.jobGuid, { state: 'FAILED', error: failure.error })
    })
    if (done) this.#announce(work)
  }

  /** The last step: the row goes, and with it the right to do anything more. */
  async #ended(work: Work, write: (tx: Transaction) => Promise<void>): Promise<boolean> {
    return this.parts.db.$transaction(async (tx) => {
      const { count } = await tx.serviceOperation.deleteMany({ where: { guid: work.row.guid, claimToken: work.claim.token } })
      if (count === 0) return false
      await write(tx)
      return true
    })
  }

  /** Writes only while the claim is ours; whoever takes it over waits for this to commit. */
  async #guarded(work: Work, write: (tx: Transaction) => Promise<void>): Promise<void> {
    await this.parts.db.$transaction(async (tx) => {
      const { count } = await tx.serviceOperation.updateMany({
        where: { guid: work.row.guid, claimToken: work.claim.token },
        data: { updatedAt: this.parts.now() },
      })
      if (count > 0) await write(tx)
    })
  }

  async #again({ guid, token }: Claim, afterMs: number): Promise<void> {
    await execute(
      this.parts.pool,
      sql`UPDATE service_operations SET next_run_at = clock_timestamp() + ${afterMs} * interval '1 millisecond',
            claimed_by = NULL, claim_expires_at = NULL, updated_at = now()
          WHERE guid = ${guid} AND claim_token = ${token}`,
    )
  }

  #announce({ row }: Work): void {
    if (row.jobGuid !== null) this.parts.jobs.announce(row.jobGuid)
  }
}

const mayHeal = ({ reason }: Failure): boolean =>
  reason === 'timeout' || reason === 'unreachable' || reason === 'bad-response' || reason === 'concurrency'
