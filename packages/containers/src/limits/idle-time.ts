/** What a group is to get of one processor, where all else wants all of them. */
const RESERVE = 0.1
/** Part of a machine's time that nobody wanted, from which on no program can be said to wait for its turn. */
const SPARE = 0.05
const ENOUGH = 0.5

/** What was used of a machine's processors for a while, in seconds of one processor. */
export interface ProcessorUse {
  readonly seconds: number
  readonly processors: number
  /** Used by the group. */
  readonly used: number
  /** Used by nobody. */
  readonly spare: number
}

/**
 * Whether a group may go on, or go back to, running only when nothing else wants a processor. Where others want all of the machine for
 * long, it would not get anywhere: then it has an ordinary share, until there is time to spare again or it has what it can use.
 */
export function mayRunInIdleTime(doesNow: boolean, { seconds, processors, used, spare }: ProcessorUse): boolean {
  const all = seconds * processors
  if (spare >= SPARE * all) return true
  return doesNow ? used >= RESERVE * seconds : used >= ENOUGH * all
}
