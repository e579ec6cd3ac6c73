import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '@bloomery/telemetry'
import type { Engine } from './engine.js'

const LOOK_EVERY_MS = 60_000

/** Which offerings can be had here: found at start, and looked for again while some are missing. */
export class EngineChoice {
  readonly #available = new Set<Engine>()
  readonly #told = new Set<Engine>()

  constructor(
    readonly all: readonly Engine[],
    private readonly log: Logger,
  ) {}

  get available(): readonly Engine[] {
    return this.all.filter((engine) => this.#available.has(engine))
  }

  async look(): Promise<void> {
    const missing = this.all.filter((engine) => !this.#available.has(engine))
    await Promise.all(missing.map((engine) => this.#lookFor(engine)))
  }

  async #lookFor(engine: Engine): Promise<void> {
    const offering = engine.offering.name
    try {
      const found = await engine.probe()
      if (found.available) {
        this.#available.add(engine)
        this.log.info({ offering, from: found.from }, 'a service offering is available')
      } else if (!this.#told.has(engine)) {
        this.log.warn(
          { offering, reason: found.reason, remedy: found.remedy },
          `${offering} is not offered: ${found.reason}. To get it: ${found.remedy}`,
        )
      }
    } catch (error) {
      if (!this.#told.has(engine)) this.log.warn({ offering, err: error }, 'a service offering could not be looked for')
    }
    this.#told.add(engine)
  }

  async keepLooking(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined)
      if (!signal.aborted) await this.look()
    }
  }
}
