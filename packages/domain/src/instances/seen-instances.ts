/** A row of what runs, as far as it decides what is shown for its index. */
export interface SeenRow {
  readonly index: number
  readonly specVersion: number
  readonly presence: string
  readonly state: string
  readonly placementError: string | null
  readonly stopReason: string | null
}
export type ShownState = 'RUNNING' | 'STARTING' | 'CRASHED' | 'DOWN' | 'STOPPING'
export interface ShownInstance<Row> {
  readonly index: number
  readonly state: ShownState
  readonly details: string | null
  /** What the state was read from; none for an index of which there is nothing yet. */
  readonly row: Row | undefined
}

const RANK: Readonly<Record<string, number>> = { running: 0, claimed: 1, unclaimed: 2, crashed: 3, stopping: 4 }
const rankOf = (row: SeenRow): number => (row.presence === 'ordinary' ? 0 : 10) + (RANK[row.state] ?? 9)

/**
 * One entry for each wanted index, in order: of an index's rows (old and new versions, evacuating ones) the one that serves best.
 * A stopped app shows each as DOWN.
 */
export function shownInstances<Row extends SeenRow>(
  wanted: number,
  rows: readonly Row[],
  isStarted: boolean,
): ShownInstance<Row>[] {
  return Array.from({ length: Math.max(wanted, 0) }, (_none, index) => {
    if (!isStarted) return { index, state: 'DOWN', details: null, row: undefined }
    const [best] = rows
      .filter((row) => row.index === index)
      .sort((a, b) => rankOf(a) - rankOf(b) || b.specVersion - a.specVersion)
    if (!best) return { index, state: 'STARTING', details: null, row: undefined }
    return { index, ...stateOf(best), row: best }
  })
}

function stateOf(row: SeenRow): { state: ShownState; details: string | null } {
  switch (row.state) {
    case 'running':
      return { state: 'RUNNING', details: null }
    case 'crashed':
      return { state: 'CRASHED', details: null }
    case 'stopping':
      return { state: 'STOPPING', details: null }
    case 'unclaimed':
      return row.placementError === null ? { state: 'STARTING', details: null } : { state: 'DOWN', details: row.placementError }
    default:
      return { state: 'STARTING', details: null }
  }
}
