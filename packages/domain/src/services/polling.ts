/** How often and how long a broker is asked about work under way. */
export interface PollingRules {
  /** Seconds until the first poll, and the least between two. */
  readonly intervalSeconds: number
  /** Each interval is the one before times this; 1: constant. */
  readonly backoffRate: number
  readonly maxIntervalSeconds: number
  /** The longest that any operation may take, whatever a plan allows. */
  readonly maxDurationSeconds: number
}
export interface PollingSituation {
  /** How many polls there have been. */
  readonly polls: number
  /** What the broker asked for in its last answer. */
  readonly retryAfterSeconds?: number | undefined
  readonly startedAt: Date
  readonly now: Date
  /** What the plan allows. */
  readonly maximumPollingSeconds?: number | undefined
}

/** The default of the specification's readers: no broker may make a poller wait longer than a day. */
const MAX_POLL_INTERVAL_SECONDS = 24 * 60 * 60

/** When the operation is over if nothing else ends it. */
export const pollingDeadline = (
  situation: Pick<PollingSituation, 'startedAt' | 'maximumPollingSeconds'>,
  rules: PollingRules,
): Date => {
  const own = situation.maximumPollingSeconds
  const seconds = own === undefined || own <= 0 ? rules.maxDurationSeconds : Math.min(own, rules.maxDurationSeconds)
  return new Date(situation.startedAt.getTime() + seconds * 1000)
}

/**
 * When to ask again; undefined once the time is over. `Retry-After` lengthens an interval, and never shortens it; the last question is
 * asked at the deadline, however far apart the questions are by then.
 */
export function nextPollAt(situation: PollingSituation, rules: PollingRules): Date | undefined {
  const grown = rules.intervalSeconds * rules.backoffRate ** situation.polls
  const wanted = Math.max(Math.min(grown, rules.maxIntervalSeconds), situation.retryAfterSeconds ?? 0)
  const at = new Date(situation.now.getTime() + Math.min(wanted, MAX_POLL_INTERVAL_SECONDS) * 1000)
  const deadline = pollingDeadline(situation, rules)
  if (at <= deadline) return at
  return deadline.getTime() - situation.now.getTime() < rules.intervalSeconds * 1000 ? undefined : deadline
}
