/** Cloud Foundry's constants of the crash policy. */
export const CRASH_POLICY = {
  immediateRestarts: 3,
  minBackoffMs: 30_000,
  maxBackoffMs: 16 * 60_000,
  maxRestarts: 200,
  resetAfterMs: 5 * 60_000,
} as const

export type CrashOutcome = 'restart' | 'wait' | 'give-up'

/** The count after one more crash: an instance that ran for more than five minutes starts over. */
export function nextCrashCount(crash: { crashCount: number; wasRunning: boolean; stateSince: Date; now: Date }): number {
  const ranMs = crash.now.getTime() - crash.stateSince.getTime()
  return crash.wasRunning && ranMs > CRASH_POLICY.resetAfterMs ? 1 : crash.crashCount + 1
}

/** What happens after a crash: the first two restart at once, later ones wait, the two-hundredth is the last. */
export function crashOutcome(crashCount: number): CrashOutcome {
  if (crashCount < CRASH_POLICY.immediateRestarts) return 'restart'
  return crashCount < CRASH_POLICY.maxRestarts ? 'wait' : 'give-up'
}

/** 30 s doubling up to 16 min; 0 for the crashes that restart at once. */
export function crashBackoffMs(crashCount: number): number {
  const doublings = crashCount - CRASH_POLICY.immediateRestarts
  if (doublings < 0) return 0
  return Math.min(CRASH_POLICY.minBackoffMs * 2 ** Math.min(doublings, 5), CRASH_POLICY.maxBackoffMs)
}

/** Whether a crashed instance may be started again now. */
export function isRestartDue(crash: { crashCount: number; crashedAt: Date | null; now: Date }): boolean {
  if (crashOutcome(crash.crashCount) === 'give-up') return false
  const since = crash.crashedAt?.getTime() ?? 0
  return crash.now.getTime() - since >= crashBackoffMs(crash.crashCount)
}
