/** An instance that the scheduler wants of this cell. */
export interface WantedOfCell {
  readonly instanceGuid: string
  readonly want: 'run' | 'stop'
}

/** An instance that this cell has, in whatever state. */
export interface HeldByCell {
  readonly instanceGuid: string
  readonly state: 'starting' | 'running' | 'stopping' | 'crashed'
  /** The scheduler had heard of it before it wrote the document; silence about it means that nobody wants it. */
  readonly announced: boolean
}

export interface CellPlan {
  readonly start: readonly string[]
  readonly stop: readonly string[]
  /** Ended ones about which the scheduler has been told and that it no longer names. */
  readonly forget: readonly string[]
}

/**
 * What a cell does about the scheduler's document. An instance that the document does not name is stopped only if the scheduler
 * knew of it: what an agent adopted after a restart, or restarted by itself, is reported first.
 */
export function planCell(wanted: readonly WantedOfCell[], held: readonly HeldByCell[]): CellPlan {
  const wants = new Map(wanted.map(({ instanceGuid, want }) => [instanceGuid, want]))
  const here = new Set(held.map(({ instanceGuid }) => instanceGuid))
  const unwanted = held.filter(({ instanceGuid, announced }) => {
    const want = wants.get(instanceGuid)
    return want === 'stop' || (want === undefined && announced)
  })
  return {
    start: wanted
      .filter(({ instanceGuid, want }) => want === 'run' && !here.has(instanceGuid))
      .map(({ instanceGuid }) => instanceGuid),
    stop: unwanted.filter(({ state }) => state === 'starting' || state === 'running').map(({ instanceGuid }) => instanceGuid),
    forget: unwanted.filter(({ state }) => state === 'crashed').map(({ instanceGuid }) => instanceGuid),
  }
}

/** A lease token is a rising number in decimal; documents of a leader that was deposed are refused. */
export const isStaleLease = (token: string, highestSeen: string): boolean => BigInt(token) < BigInt(highestSeen)
