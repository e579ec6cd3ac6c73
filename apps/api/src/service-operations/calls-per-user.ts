import type { FastifyReply, FastifyRequest } from 'fastify'
import { CfError } from '@bloomery/contracts'

/**
 * How many answers of service brokers one user may wait for at once in this process. It is for requests that are held open meanwhile
 * (parameters of instances and bindings); all other work of brokers is done in turns by `ServiceOperations`.
 */
export class CallsPerUser {
  readonly #waiting = new Map<string, number>()

  constructor(
    /** 0: as many as they like. */
    private readonly max: number,
    /** How long one may take. */
    private readonly timeoutMs: number,
  ) {}

  /** Does the work, or refuses it in Cloud Foundry's words. Operators are not limited. */
  async within<T>(request: FastifyRequest, reply: FastifyReply, work: () => Promise<T>): Promise<T> {
    if (this.max === 0 || request.access.isGlobalReader) return work()
    const { guid } = request.principal
    const waiting = this.#waiting.get(guid) ?? 0
    if (waiting >= this.max) {
      // Spread out, so that those who were refused together do not come back together.
      reply.header('retry-after', Math.ceil((this.timeoutMs / 1_000) * (0.5 + Math.random())))
      throw new CfError('ServiceBrokerRateLimitExceeded', 'Service broker concurrent request limit exceeded')
    }
    this.#waiting.set(guid, waiting + 1)
    try {
      return await work()
    } finally {
      const left = (this.#waiting.get(guid) ?? 1) - 1
      if (left === 0) this.#waiting.delete(guid)
      else this.#waiting.set(guid, left)
    }
  }
}
