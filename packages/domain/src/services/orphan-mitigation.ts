/** How many times a delete of an orphan is repeated after the first. */
export const MITIGATION_RETRIES = 10
const MINUTE_MS = 60_000

/**
 * When to try again after the try number `attempts` (from 1) has failed: after 2, 4, 8 … minutes, and undefined after the last, some
 * 34 hours later.
 */
export function nextMitigationAt(attempts: number, now: Date): Date | undefined {
  return attempts > MITIGATION_RETRIES ? undefined : new Date(now.getTime() + 2 ** attempts * MINUTE_MS)
}

/** Whether an orphan is gone, or sure to go: 200, 202 and 410 end its mitigation. */
export const endsMitigation = (outcome: { readonly kind: 'done' | 'in progress' | 'failed' }): boolean =>
  outcome.kind !== 'failed'
