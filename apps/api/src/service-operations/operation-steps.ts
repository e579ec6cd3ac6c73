import { CfError } from '@bloomery/contracts'
import { execute, sql, type Database, type Pool, type ServiceOperation, type Transaction } from '@bloomery/database'
import {
  afterAnswer,
  afterDeadline,
  afterLostUpdate,
  afterPoll,
  deadlineMessage,
  nextPollAt,
  pollingDeadline,
  type PollingRules,
} from '@bloomery/domain'
import type { Failure } from '@bloomery/osb'
import type { Logger } from '@bloomery/telemetry'
import type { Jobs } from '../jobs/jobs.js'
import { askBroker, fetchMade, pollBroker, type Question } from './ask-broker.js'
import { unableTo } from './broker-errors.js'
import type { Brokers } from './brokers.js'
import type { Claim } from './claims.js'
import type { BrokerAnswer, Operation, OperationFailure, OperationHandler, Step } from './operation.js'
import { newMitigation } from './orphan-mitigator.js'

export interface OperationStepsParts {
  readonly db: Database
  readonly pool: Pool
  readonly jobs: Jobs
  readonly brokers: Brokers
  readonly log: Logger
  readonly now: () => Date
  readonly polling: PollingRules
}
/** A row that this process holds, and what it takes to go on with it. */
export interface Work {
  readonly row: ServiceOperation
  readonly operation: Operation<never>
  readonly handler: OperationHandler<never>
  readonly claim: Claim
}
type Asking = Extract<Step, { kind: 'ask' }>

/**
 * One step of an operation: asks the broker or polls it, and writes what follows from the answer. Every write is fenced by the claim, so
 * that whoever has lost it changes nothing.
 */
export class OperationSteps {
  constructor(private readonly parts: OperationStepsParts) {}

  /** What is to be done now: decided anew each time, from what is there. */
  async take(work: Work): Promise<void> {
    const step = await work.handler.plan(work.operation)
    switch (step.kind) {
      case 'wait':
        await this.#tellWaiting(work)
        return this.again(work.claim, step.afterMs)
      case 'done':
        return this.#complete(work, {})
      case 'refuse':
        return this.fail(work, { error: step.error, description: step.error.message })
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
    if (operation.sentBefore && (await this.#wentThrough(work, step, question))) return
    // The same however often it is sent: a broker that remembers it does the work once.
    const outcome = await askBroker({ ...question, call: { ...question.call, requestIdentity: operation.guid } })
    const next = afterAnswer(step.request.operation, outcome, operation.sentBefore)
    if (outcome.kind === 'failed' && next !== 'poll') return this.#failAsked(work, step, outcome, next === 'fail and mitigate')
    if (outcome.kind === 'done') return this.#inspected(work, step, outcome.answer)
    if (outcome.kind === 'in progress' && step.request.operation === 'bind' && !step.fetch) {
      // Its credentials could never be read.
      const description = 'The service broker responded asynchronously but does not support fetching binding data.'
      return this.fail(work, { error: new CfError('ServiceBrokerBadResponse', description), description }, step)
    }
    const answer: BrokerAnswer = outcome.kind === 'in progress' ? outcome.answer : {}
    await this.#startPolling(work, step, answer, outcome.kind === 'in progress' ? outcome.retryAfterSeconds : undefined)
  }

  /**
   * An update that somebody died over may have been done, and doing it again may do harm. Where the broker shows its instances, it is
   * looked at first.
   */
  async #wentThrough(work: Work, step: Asking, question: Question): Promise<boolean> {
    if (step.request.operation !== 'update' || !step.fetch) return false
    const shown = await fetchMade(question)
    const { body } = step.request
    const next = afterLostUpdate(
      { planBefore: step.target.planId, planAfter: body.plan_id, parameters: body.parameters },
      shown.kind === 'done'
        ? { kind: 'shown', planId: shown.answer.plan_id ?? undefined, parameters: shown.answer.parameters ?? undefined }
        : { kind: shown.reason === 'concurrency' ? 'updating' : 'hidden' },
    )
    if (next === 'complete') await this.#inspected(work, step, shown.kind === 'done' ? shown.answer : {})
    if (next === 'poll') await this.#startPolling(work, step, {}, undefined)
    return next !== 'ask again'
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
      return this.fail(
        work,
        {
          error: unableTo(request, description),
          description,
          ...(poll.kind === 'state' ? { instanceUsable: poll.instanceUsable, updateRepeatable: poll.updateRepeatable } : {}),
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
      return this.fail(
        work,
        { error: unableTo(request, description), description },
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
    return this.fail(work, { error: fault, description: fault.message }, orphans ? step : undefined)
  }

  async #questionOf(work: Work, step: Asking): Promise<Question> {
    return {
      client: await this.parts.brokers.of(step.target.brokerGuid),
      step,
      call: { userGuid: work.operation.actor.guid, signal: work.claim.signal },
    }
  }

  #failAsked(work: Work, step: Asking, failure: Failure, mitigate: boolean): Promise<void> {
    const description = step.describeFailure?.(failure) ?? failure.message
    return this.fail(
      work,
      {
        error: unableTo(step.request.operation, description),
        description,
        instanceUsable: failure.instanceUsable,
        updateRepeatable: failure.updateRepeatable,
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
  async fail(work: Work, failure: OperationFailure, mitigate?: Asking): Promise<void> {
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

  /** Lets go of it until later. */
  async again({ guid, token }: Claim, afterMs: number): Promise<void> {
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
