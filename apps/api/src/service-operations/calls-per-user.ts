import type { FastifyReply, FastifyRequest } from 'fastify'
import { CfError } from '@bloomery/contracts'
import type { SharedSlots, SlotAnswer } from '@bloomery/queues'

interface CallsPerUserOptions {
  /** Answers at once; 0: as many as they like. */
  readonly max: number
  /** How long one may take. */
  readonly timeoutMs: number
  /** Counts over all api processes. */
  readonly slots: Pick<SharedSlots, 'take'>
}
/** Of a call that ends at its timeout, what comes before and after it. */
const MARGIN_MS = 5_000

/**
 * How many answers of service brokers one user may wait for at once. It is for requests that are held open meanwhile (parameters of
 * instances and bindings); all other work of brokers is done in turns by `ServiceOperations`. All api processes count together; while
 * their Redis is away, each counts for itself.
 */
export class CallsPerUser {
  readonly #waiting = new Map<string, number>()

  constructor(private readonly options: CallsPerUserOptions) {}

  /** Does the work, or refuses it in Cloud Foundry's words. Operators are not limited. */
  async within<T>(
    request: Pick<FastifyRequest, 'access' | 'principal'>,
    reply: Pick<FastifyReply, 'header'>,
    work: () => Promise<T>,
  ): Promise<T> {
    if (this.options.max === 0 || request.access.isGlobalReader) return work()
    const { guid } = request.principal
    if ((this.#waiting.get(guid) ?? 0) >= this.options.max) throw this.#refuse(reply)
    this.#count(guid, 1)
    let answer: SlotAnswer | undefined
    try {
      answer = await this.options.slots.take(`broker-calls:${guid}`, this.options.max, this.options.timeoutMs + MARGIN_MS)
      if (answer.kind === 'full') throw this.#refuse(reply)
      return await work()
    } finally {
      if (answer?.kind === 'taken') answer.slot.giveBack()
      this.#count(guid, -1)
    }
  }

  #refuse(reply: Pick<FastifyReply, 'header'>): CfError {
    // Spread out, so that those who were refused together do not come back together.
    reply.header('retry-after', Math.ceil((this.options.timeoutMs / 1_000) * (0.5 + Math.random())))
    return new CfError('ServiceBrokerRateLimitExceeded', 'Service broker concurrent request limit exceeded')
  }

  #count(guid: string, by: 1 | -1): void {
    const waiting = (this.#waiting.get(guid) ?? 0) + by
    if (waiting === 0) this.#waiting.delete(guid)
    else this.#waiting.set(guid, waiting)
  }
}
