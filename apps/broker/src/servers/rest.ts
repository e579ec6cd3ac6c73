import { setTimeout as delay } from 'node:timers/promises'
import { type Pool, rows, sql } from '@bloomery/database/sql'
import type { Logger } from '@bloomery/telemetry'
import type { Engine } from '../engines/engine.js'
import { sharedServerName } from '../engines/placement.js'
import type { LocalServerHost } from './local-server-host.js'

const LOOK_EVERY_MS = 60_000

interface Parts {
  readonly pool: Pool
  readonly engines: readonly Engine[]
  readonly host: Pick<LocalServerHost, 'rest'>
  readonly log: Logger
}

/** Common servers run from their first instance to their last. */
export async function keepRest(parts: Parts, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined)
    if (!signal.aborted)
      await restUnneeded(parts).catch((error: unknown) =>
        parts.log.warn({ err: error }, 'servers without instances could not be stopped'),
      )
  }
}

export async function restUnneeded({ pool, engines, host }: Omit<Parts, 'log'>): Promise<void> {
  for (const { offering, plans } of engines) {
    if (!plans.some(({ style }) => style === 'shared')) continue
    // An instance of any plan of it: one that is moving uses both.
    const isNeeded = async () =>
      (await rows(pool, sql`SELECT 1 FROM instances WHERE service_id = ${offering.id} LIMIT 1`)).length > 0
    if (!(await isNeeded())) await host.rest(sharedServerName(offering.name), isNeeded)
  }
}
