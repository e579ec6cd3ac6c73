import { Queue, UnrecoverableError, Worker, type Job } from 'bullmq'
import { z } from 'zod'
import { createRedis, type Redis } from './connection.js'

/** Identifiers only; the truth is read from Postgres. */
export const StageBuild = z.strictObject({ buildGuid: z.string() })
export type StageBuild = z.infer<typeof StageBuild>
const QUEUE = 'stage-build'

export class StagingQueue {
  readonly #connection: Redis
  readonly #queue: Queue
  constructor(url: string) {
    this.#connection = createRedis(url)
    this.#queue = new Queue(QUEUE, { connection: this.#connection, prefix: 'bloomery' })
    this.#queue.on('error', () => undefined)
  }
  /** Idempotent: a build is in the queue once. With Redis away it gives up after `timeoutMs`: the stager's sweep finds the build by its row. */
  async add(build: StageBuild, timeoutMs = 1_000): Promise<boolean> {
    const added = this.#queue
      .add('stage', build, { jobId: build.buildGuid, removeOnComplete: true, removeOnFail: true, attempts: 1 })
      .then(
        () => true,
        () => false,
      )
    return Promise.race([added, new Promise<boolean>((resolve) => setTimeout(() => resolve(false), timeoutMs).unref())])
  }
  async close(): Promise<void> {
    await Promise.race([this.#queue.close(), new Promise((resolve) => setTimeout(resolve, 1_000).unref())])
    // A connection that was handed in is ours to end; left open it would go on trying to reach Redis.
    this.#connection.disconnect()
  }
}

/** Consumes builds. `handle` claims by a guarded update and may be run twice. Returns a function that stops taking and waits for what runs. */
export function consumeStaging(
  url: string,
  concurrency: number,
  handle: (build: StageBuild) => Promise<void>,
): { close: () => Promise<void> } {
  const connection = createRedis(url)
  const worker = new Worker(
    QUEUE,
    async (job: Job<unknown>) => {
      const payload = StageBuild.safeParse(job.data)
      if (!payload.success) throw new UnrecoverableError(z.prettifyError(payload.error))
      await handle(payload.data)
    },
    { connection, prefix: 'bloomery', concurrency },
  )
  worker.on('error', () => undefined)
  return {
    close: async () => {
      await worker.close()
      connection.disconnect()
    },
  }
}
