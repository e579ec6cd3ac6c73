import type { Nudge } from '@bloomery/contracts'
import { createRedis, type Redis } from './connection.js'

const CHANNEL = 'bloomery:nudge'

/** Sends and receives hints. All may be lost; nobody relies on one. */
export class Nudges {
  readonly #publisher: Redis
  #subscriber: Redis | undefined
  readonly #listeners = new Set<(nudge: Nudge) => void>()

  constructor(readonly url: string) {
    this.#publisher = createRedis(url)
  }

  /** Never waits for Redis and never throws. */
  send(nudge: Nudge): void {
    if (this.#publisher.status !== 'ready') return
    this.#publisher.publish(CHANNEL, JSON.stringify(nudge)).catch(() => undefined)
  }

  /** Whether Redis answers now. */
  async isReady(): Promise<boolean> {
    return this.#publisher.status === 'ready' && (await this.#publisher.ping()) === 'PONG'
  }

  /** Returns a function that ends the subscription. */
  listen(listener: (nudge: Nudge) => void): () => void {
    this.#listeners.add(listener)
    if (!this.#subscriber) {
      this.#subscriber = createRedis(this.url)
      this.#subscriber.subscribe(CHANNEL).catch(() => undefined)
      this.#subscriber.on('message', (_channel, text) => {
        const nudge = JSON.parse(text) as Nudge
        for (const each of this.#listeners) each(nudge)
      })
    }
    return () => this.#listeners.delete(listener)
  }

  async close(): Promise<void> {
    this.#listeners.clear()
    await Promise.allSettled([this.#publisher.quit(), this.#subscriber?.quit()])
    this.#publisher.disconnect()
    this.#subscriber?.disconnect()
  }
}
