import { setTimeout as delay } from 'node:timers/promises'

/** Tries again until `probe` resolves to something other than undefined, null or false, and neither throws; rejects after the deadline with the last reason. */
export async function eventually<T>(
  probe: () => T | Promise<T>,
  options: { readonly timeoutMs?: number; readonly intervalMs?: number; readonly what?: string } = {},
): Promise<NonNullable<T>> {
  const { timeoutMs = 30_000, intervalMs = 25, what = 'what was waited for' } = options
  let last: unknown
  for (const end = Date.now() + timeoutMs; ; await delay(intervalMs)) {
    try {
      const value = await probe()
      if (value !== undefined && value !== null && value !== false) return value
      last = undefined
    } catch (error) {
      last = error
    }
    if (Date.now() > end) throw new Error(`${what} did not come about within ${timeoutMs} ms`, { cause: last })
  }
}
