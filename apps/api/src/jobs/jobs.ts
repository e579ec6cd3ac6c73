import { randomUUID } from 'node:crypto'
import { CfError, CF_ERRORS, type CfErrorView } from '@bloomery/contracts'
import { execute, rows, sql, type Pool, type Transaction } from '@bloomery/database'
import type { Nudges } from '@bloomery/queues'
import type { Keyring } from '@bloomery/secrets'
import type { Logger } from '@bloomery/telemetry'
import { z } from 'zod'
import type { Changes } from '../http/changes.js'

/** Who asked for the work; audit events of the job carry it. */
export const JobActor = z.object({ guid: z.string(), name: z.string(), kind: z.enum(['user', 'client']), isAdmin: z.boolean() })
export type JobActor = z.infer<typeof JobActor>

/** A job as its handler sees it. Handlers may be run again after a crash at any line, so each step asks first what is left to do. */
export interface RunningJob<Params> {
  readonly guid: string
  readonly params: Params
  readonly actor: JobActor
  readonly attempt: number
  warn(detail: string): void
}
interface Operation {
  readonly schema: z.ZodType
  readonly run: (job: RunningJob<never>) => Promise<void>
}
interface JobRow {
  guid: string
  operation: string
  params_encrypted: unknown
  actor: unknown
  attempts: number
  claim_token: bigint
}
const LEASE_MS = 30_000
const MAX_ATTEMPTS = 5
/** The lease of jobs that nobody may take up. */
const NEVER = new Date('9999-12-31T00:00:00Z')

/** Long work of the API: a row in Postgres, taken by whichever api process is there, kept alive by a lease, failed with a reason when it cannot be done. */
export class Jobs {
  readonly #operations = new Map<string, Operation>()
  readonly #owner = `api:${process.pid}:${randomUUID()}`
  readonly #running = new Set<Promise<void>>()
  #sweep: NodeJS.Timeout | undefined
  #closed = false

  constructor(
    private readonly pool: Pool,
    private readonly keyring: Keyring,
    private readonly nudges: Nudges,
    private readonly log: Logger,
    private readonly changes: () => Changes,
  ) {}

  /** Declares an operation once, at start. */
  register<Params>(operation: string, schema: z.ZodType<Params>, run: (job: RunningJob<Params>) => Promise<void>): void {
    if (this.#operations.has(operation)) throw new Error(`The job operation ${operation} is declared twice.`)
    this.#operations.set(operation, { schema, run })
  }

  /** Writes the job in the caller's transaction; call `kick(guid)` once that has committed. */
  async create(
    tx: Transaction,
    job: { operation: string; params: unknown; actor: JobActor; resourceType?: string; resourceGuid?: string },
  ): Promise<string> {
    const operation = this.#operations.get(job.operation)
    if (!operation) throw new Error(`The job operation ${job.operation} is not declared.`)
    const guid = randomUUID()
    await tx.job.create({
      data: {
        guid,
        operation: job.operation,
        resourceType: job.resourceType ?? null,
        resourceGuid: job.resourceGuid ?? null,
        paramsEncrypted: { ...this.keyring.encryptJson(operation.schema.parse(job.params), `job:${guid}`) },
        actor: job.actor,
      },
    })
    return guid
  }

  /**
   * Writes a job that only tells how other work stands (a service operation); nobody here runs it, and whoever does that work settles it
   * in the transaction that ends the work.
   */
  async follow(
    tx: Transaction,
    job: { operation: string; actor: JobActor; resourceType: string; resourceGuid: string },
  ): Promise<string> {
    const guid = randomUUID()
    await tx.job.create({ data: { guid, ...job, claimedBy: 'followed', claimExpiresAt: NEVER } })
    return guid
  }

  /** Moves a followed job; call `announce(guid)` once that has committed. */
  async settle(
    tx: Transaction,
    guid: string,
    to: { state: 'POLLING' | 'COMPLETE' } | { state: 'FAILED'; error: CfError },
  ): Promise<void> {
    await tx.job.updateMany({
      where: { guid, state: { in: ['PROCESSING', 'POLLING'] } },
      data: { state: to.state, ...(to.state === 'FAILED' ? { errors: to.error.toViews().map((view) => ({ ...view })) } : {}) },
    })
  }

  /** Wakes whoever waits for the job. */
  announce(guid: string): void {
    this.changes().announce('job', guid)
    this.nudges.send({ topic: 'changed', kind: 'job', guid })
  }

  /** Does another operation's work as a step of a running job, under that job's lease: deleting a space deletes its apps so. */
  async perform(operation: string, params: unknown, job: Omit<RunningJob<unknown>, 'params'>): Promise<void> {
    const declared = this.#operations.get(operation)
    if (!declared) throw new Error(`The job operation ${operation} is not declared.`)
    await declared.run({ ...job, params: declared.schema.parse(params) } as RunningJob<never>)
  }

  /** Runs the job here and now, without waiting for it. */
  kick(guid: string): void {
    const work = this.#runOne(guid).catch((error: unknown) => this.log.error({ err: error, job: guid }, 'job could not be run'))
    this.#running.add(work)
    void work.finally(() => this.#running.delete(work))
  }

  /** Takes up what other processes left behind, every few seconds. */
  start(everyMs = 3_000): void {
    const sweep = async () => {
      const found = await rows<{ guid: string }>(
        this.pool,
        sql`SELECT guid FROM jobs WHERE state IN ('PROCESSING', 'POLLING') AND (claim_expires_at IS NULL OR claim_expires_at < clock_timestamp())
            AND created_at < clock_timestamp() - interval '2 seconds' ORDER BY created_at LIMIT 20`,
      ).catch(() => [])
      for (const { guid } of found) this.kick(guid)
    }
    this.#sweep = setInterval(() => void sweep(), everyMs)
    this.#sweep.unref()
    void sweep()
  }

  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#sweep)
    await Promise.race([Promise.allSettled([...this.#running]), new Promise((resolve) => setTimeout(resolve, 5_000).unref())])
  }

  async #runOne(guid: string): Promise<void> {
    if (this.#closed) return
    const [row] = await rows<JobRow>(
      this.pool,
      sql`UPDATE jobs SET claimed_by = ${this.#owner}, claim_token = claim_token + 1, attempts = attempts + 1, updated_at = now(),
            claim_expires_at = clock_timestamp() + ${LEASE_MS} * interval '1 millisecond'
          WHERE guid = ${guid} AND state IN ('PROCESSING', 'POLLING') AND (claim_expires_at IS NULL OR claim_expires_at < clock_timestamp())
          RETURNING guid, operation, params_encrypted, actor, attempts, claim_token`,
    )
    if (!row) return
    const renewal = setInterval(() => {
      void execute(
        this.pool,
        sql`UPDATE jobs SET claim_expires_at = clock_timestamp() + ${LEASE_MS} * interval '1 millisecond' WHERE guid = ${guid} AND claim_token = ${row.claim_token}`,
      ).catch(() => undefined)
    }, LEASE_MS / 3)
    const warnings: { detail: string }[] = []
    try {
      const operation = this.#operations.get(row.operation)
      if (!operation)
        throw new CfError('UnprocessableEntity', `This version of the platform does not know the operation '${row.operation}'.`)
      const params = this.keyring.decryptJson(row.params_encrypted, `job:${guid}`, operation.schema)
      const job: RunningJob<unknown> = {
        guid,
        params,
        actor: JobActor.parse(row.actor),
        attempt: row.attempts,
        warn: (detail) => warnings.push({ detail }),
      }
      await operation.run(job as RunningJob<never>)
      await this.#finish(row, 'COMPLETE', [], warnings)
    } catch (error) {
      if (!(error instanceof CfError)) {
        this.log.error({ err: error, job: guid, operation: row.operation, attempt: row.attempts }, 'job failed')
        // What is not the caller's fault may heal: let the sweep try again, a few times.
        if (row.attempts < MAX_ATTEMPTS) {
          await execute(
            this.pool,
            sql`UPDATE jobs SET claim_expires_at = clock_timestamp() + interval '2 seconds' WHERE guid = ${guid} AND claim_token = ${row.claim_token}`,
          ).catch(() => undefined)
          return
        }
      }
      const errors: CfErrorView[] =
        error instanceof CfError
          ? error.toViews()
          : [{ code: CF_ERRORS.UnknownError.code, title: CF_ERRORS.UnknownError.title, detail: 'An unknown error occurred.' }]
      await this.#finish(row, 'FAILED', errors, warnings)
    } finally {
      clearInterval(renewal)
    }
  }

  async #finish(row: JobRow, state: 'COMPLETE' | 'FAILED', errors: CfErrorView[], warnings: { detail: string }[]): Promise<void> {
    await execute(
      this.pool,
      sql`UPDATE jobs SET state = ${state}, errors = ${JSON.stringify(errors)}, warnings = ${JSON.stringify(warnings)}, params_encrypted = NULL, updated_at = now()
          WHERE guid = ${row.guid} AND claim_token = ${row.claim_token}`,
    )
    this.announce(row.guid)
  }
}
