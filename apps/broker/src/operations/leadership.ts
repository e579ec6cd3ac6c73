import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { acquireLease, type Lease, type Pool, releaseLease, seizeLease, tryAdvisoryLock } from '@bloomery/database/sql'
import type { Logger } from '@bloomery/telemetry'

const LEASE = 'broker'
const TTL_MS = 30_000
const RENEW_MS = 10_000
const RETRY_MS = 500

/**
 * Runs `lead` in one process at a time: whoever holds the advisory lock, which is free the moment its holder dies. The lease's token is
 * in every write, so that one who has lost the lock without knowing it can change nothing.
 */
export async function leadWhile(
  pool: Pool,
  signal: AbortSignal,
  log: Logger,
  lead: (lease: Lease, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const holder = randomUUID()
  while (!signal.aborted) {
    try {
      await leadOnce(pool, holder, signal, log, lead)
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error }, 'the broker cannot work on its operations; trying again')
    }
    await delay(RETRY_MS, undefined, { signal }).catch(() => undefined)
  }
}

async function leadOnce(
  pool: Pool,
  holder: string,
  signal: AbortSignal,
  log: Logger,
  lead: (lease: Lease, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const lock = await tryAdvisoryLock(pool, 'bloomery:broker')
  if (!lock) return
  const lost = new AbortController()
  const until = AbortSignal.any([signal, lost.signal])
  void lock.lost.then(() => lost.abort())
  try {
    const lease = await seizeLease(pool, LEASE, holder, TTL_MS)
    const renewing = (async () => {
      while (!until.aborted) {
        await delay(RENEW_MS, undefined, { signal: until }).catch(() => undefined)
        if (until.aborted) return
        const renewed = await acquireLease(pool, LEASE, holder, TTL_MS).catch(() => undefined)
        if (renewed?.token !== lease.token) lost.abort()
      }
    })()
    try {
      await lead(lease, until)
    } finally {
      lost.abort()
      await renewing
      await releaseLease(pool, lease).catch((error: unknown) => log.debug({ err: error }, 'the lease expires by itself'))
    }
  } finally {
    await lock.release()
  }
}
