import type { ActualInstance, InstanceKey } from '../instances/instance.js'
import { groupBy } from '../collections/group-by.js'

/** What a cell says of one instance, as far as decisions depend on it. */
export interface ReportedInstance {
  readonly instanceGuid: string
  readonly processGuid: string
  readonly specVersion: number
  readonly index: number
  readonly state: 'starting' | 'running' | 'stopping' | 'crashed'
  readonly routable: boolean
  readonly platformFault?: boolean | undefined
  readonly restartedLocally?: boolean | undefined
}

/** The wish that a report has taken into account, by instance guid; undefined when it is not known which one that was. */
export type AppliedWish = ReadonlyMap<string, 'run' | 'stop'> | undefined

export interface ReportWorld<Row extends ActualInstance, Seen extends ReportedInstance> {
  readonly cellId: string
  /** Rows on this cell, and the rows anywhere of each index that the cell reports. */
  readonly rows: readonly Row[]
  readonly seen: readonly Seen[]
  readonly applied: AppliedWish
  /** Whether an instance of this key is wanted now: its app is started, its spec the current one, its index below the count. */
  readonly isWanted: (key: Omit<InstanceKey, 'presence'>) => boolean
}

export type ReportAction<Row extends ActualInstance, Seen extends ReportedInstance> =
  | { readonly kind: 'running'; readonly row: Row; readonly seen: Seen }
  /** It ran, and its cell begins anew with it, as after the machine's restart. */
  | { readonly kind: 'starting-again'; readonly row: Row; readonly seen: Seen }
  | { readonly kind: 'crashed'; readonly row: Row; readonly seen: Seen }
  /** A start that failed for the platform's sake: tried again, not counted. */
  | { readonly kind: 'start-failed'; readonly row: Row; readonly seen: Seen }
  /** The cell restarted the index by itself, under its claim, while it could not ask. */
  | { readonly kind: 'restarted-locally'; readonly row: Row; readonly seen: Seen }
  /** Runs, but no row says so. `row` is the unoccupied row that it takes, if there is one. */
  | { readonly kind: 'adopt'; readonly row: Row | undefined; readonly seen: Seen }
  /** Asked to stop, and gone. */
  | { readonly kind: 'stopped'; readonly row: Row }
  /** Should be there and is not. */
  | { readonly kind: 'lost'; readonly row: Row }

/** What a cell's report changes. Instances for which it plans nothing and that are not wanted of the cell are the cell's to remove. */
export function reconcileReport<Row extends ActualInstance, Seen extends ReportedInstance>(
  world: ReportWorld<Row, Seen>,
): ReportAction<Row, Seen>[] {
  const here = world.rows.filter(({ cellId }) => cellId === world.cellId)
  const byGuid = new Map(here.map((row) => [row.instanceGuid, row]))
  const byIndex = groupBy(world.rows, indexKey)
  const taken = new Set<Row>()
  const actions: ReportAction<Row, Seen>[] = []
  for (const seen of world.seen) {
    const row = byGuid.get(seen.instanceGuid)
    const action = row ? planKnown(row, seen) : planUnknown(seen, byIndex.get(indexKey(seen)) ?? [], taken, world)
    if (row) taken.add(row)
    if (!action) continue
    if (action.row) taken.add(action.row)
    actions.push(action)
  }
  for (const row of here) if (!taken.has(row)) actions.push(...planAbsent(row, world.applied))
  return actions
}

const indexKey = (key: Omit<InstanceKey, 'presence'>): string => `${key.processGuid}/${key.specVersion}/${key.index}`

function planKnown<Row extends ActualInstance, Seen extends ReportedInstance>(
  row: Row,
  seen: Seen,
): ReportAction<Row, Seen> | undefined {
  if (row.state === 'stopping') return seen.state === 'crashed' ? { kind: 'stopped', row } : undefined
  if (row.state !== 'claimed' && row.state !== 'running') return undefined
  if (seen.state === 'running') return { kind: 'running', row, seen }
  if (seen.state === 'starting' && row.state === 'running') return { kind: 'starting-again', row, seen }
  if (seen.state === 'crashed') return { kind: seen.platformFault ? 'start-failed' : 'crashed', row, seen }
  return undefined
}

function planUnknown<Row extends ActualInstance, Seen extends ReportedInstance>(
  seen: Seen,
  copies: readonly Row[],
  taken: ReadonlySet<Row>,
  world: ReportWorld<Row, Seen>,
): ReportAction<Row, Seen> | undefined {
  if (seen.state !== 'running' && seen.state !== 'starting') return undefined
  if (seen.restartedLocally) {
    const mine = copies.find(
      (row) => row.cellId === world.cellId && !taken.has(row) && (row.state === 'claimed' || row.state === 'running'),
    )
    if (mine) return { kind: 'restarted-locally', row: mine, seen }
  }
  if (!world.isWanted(seen)) return undefined
  const ordinary = copies.find(({ presence }) => presence === 'ordinary')
  if (!ordinary) return { kind: 'adopt', row: undefined, seen }
  const unoccupied = ordinary.cellId === null && ordinary.state !== 'stopping'
  return unoccupied && seen.state === 'running' && !taken.has(ordinary) ? { kind: 'adopt', row: ordinary, seen } : undefined
}

/** A row whose instance the cell does not report. It means something only once the cell has heard of the wish. */
function planAbsent<Row extends ActualInstance>(
  row: Row,
  applied: AppliedWish,
): ({ readonly kind: 'stopped'; readonly row: Row } | { readonly kind: 'lost'; readonly row: Row })[] {
  if (row.instanceGuid === null || !applied?.has(row.instanceGuid)) return []
  if (row.state === 'stopping') return [{ kind: 'stopped', row }]
  return row.state === 'claimed' || row.state === 'running' ? [{ kind: 'lost', row }] : []
}
