import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { RouteFeedMessage, type NodeIdentity, type RouteEntry } from '@bloomery/contracts'
import { dialRole } from '@bloomery/feeds'

/** Follows the route feed as a router does. */
export class FakeRouter {
  readonly table = new Map<string, RouteEntry>()
  readonly messages: RouteFeedMessage[] = []
  /** Whether it tells what it has applied. */
  acknowledges = true
  /** Called after each message. */
  onApplied: () => void = () => undefined
  #port: number
  readonly #aborted = new AbortController()
  readonly #dispatcher
  #loop: Promise<void> | undefined

  constructor(
    readonly worker: string,
    identity: NodeIdentity,
    port: number,
  ) {
    this.#port = port
    this.#dispatcher = dialRole('scheduler', identity, { bodyTimeout: 0 })
  }

  start(): this {
    this.#loop = this.#follow()
    return this
  }

  use(port: number): void {
    this.#port = port
  }

  async close(): Promise<void> {
    this.#aborted.abort()
    await this.#loop
    await this.#dispatcher.destroy()
  }

  endpointsOf(host: string): string[] {
    return [...this.table.values()]
      .filter((route) => route.host === host)
      .flatMap(({ endpoints }) => endpoints.map((e) => e.instanceGuid))
  }

  async #follow(): Promise<void> {
    while (!this.#aborted.signal.aborted) {
      await this.#connect().catch(() => undefined)
      await delay(20, undefined, { signal: this.#aborted.signal }).catch(() => undefined)
    }
  }

  async #connect(): Promise<void> {
    const { statusCode, body } = await this.#dispatcher.request({
      origin: `https://127.0.0.1:${this.#port}`,
      path: `/v1/routes/feed?worker=${this.worker}`,
      method: 'GET',
      signal: this.#aborted.signal,
    })
    if (statusCode !== 200) {
      await body.dump()
      return
    }
    for await (const line of createInterface({ input: body })) await this.#apply(RouteFeedMessage.parse(JSON.parse(line)))
  }

  async #apply(message: RouteFeedMessage): Promise<void> {
    this.messages.push(message)
    if (message.type === 'snapshot') {
      this.table.clear()
      for (const route of message.routes) this.table.set(route.routeGuid, route)
    }
    if (message.type === 'change') {
      for (const route of message.upsert) this.table.set(route.routeGuid, route)
      for (const { routeGuid } of message.remove) this.table.delete(routeGuid)
    }
    this.onApplied()
    if (this.acknowledges) await this.acknowledge(message)
  }

  async acknowledge({ epoch, revision }: { epoch: string; revision: number }, answering: string[] = []): Promise<void> {
    const { body } = await this.#dispatcher.request({
      origin: `https://127.0.0.1:${this.#port}`,
      path: `/v1/routes/ack?worker=${this.worker}`,
      method: 'POST',
      body: JSON.stringify({ epoch, revision, answering }),
    })
    await body.dump()
  }
}
