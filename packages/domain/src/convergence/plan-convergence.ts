import { groupBy } from '../collections/group-by.js'
import { isRestartDue } from '../instances/crash-policy.js'
import { isOnCell, type ActualInstance, type InstanceKey } from '../instances/instance.js'
import type { CellView } from './cell-loss.js'

/** What shall run of one process. `instances` is 0 for a process that shall not run. */
export interface DesiredProcess {
  readonly guid: string
  readonly specGuid: string
  readonly specVersion: number
  readonly instances: number
}

/** Everything a decision may depend on, the clock included. */
export interface ConvergenceWorld<Row extends ActualInstance = ActualInstance> {
  readonly desired: readonly DesiredProcess[]
  readonly actual: readonly Row[]
  readonly cells: CellView
  readonly now: Date
}

export type StopReason = 'not-desired' | 'older-version' | 'index-too-high' | 'restart' | 'replaced' | 'evacuated'
export type UnclaimReason = 'backoff-elapsed' | 'cell-lost' | 'cell-draining' | 'restart'
export type RemoveReason = StopReason | 'cell-lost' | 'suspect-is-back'

export type ConvergenceAction<Row extends ActualInstance = ActualInstance> =
  /** A new row, unclaimed. */
  | {
      readonly kind: 'create'
      readonly process: DesiredProcess
      readonly index: number
      readonly reason: 'missing' | 'cell-lost' | 'cell-draining'
    }
  /** Back to waiting for a place. */
  | { readonly kind: 'unclaim'; readonly row: Row; readonly reason: UnclaimReason }
  /** Begin the graceful stop: out of the routes first. */
  | { readonly kind: 'stop'; readonly row: Row; readonly reason: string }
  /** The row goes at once: there is nothing to stop, or nobody who could be told. */
  | { readonly kind: 'remove'; readonly row: Row; readonly reason: RemoveReason }
  /** The copy serves on under another presence. */
  | {
      readonly kind: 'change-presence'
      readonly row: Row
      readonly to: 'ordinary' | 'suspect' | 'evacuating'
      readonly reason: 'cell-lost' | 'cell-draining' | 'cell-is-back'
    }

/** Compares what shall run with what runs. Level-triggered: applied in full and planned again it finds nothing to do. */
export function planConvergence<Row extends ActualInstance>(world: ConvergenceWorld<Row>): ConvergenceAction<Row>[] {
  const rowsOf = groupBy(world.actual, ({ processGuid }) => processGuid)
  const actions: ConvergenceAction<Row>[] = []
  for (const process of world.desired) {
    actions.push(...planProcess(process, rowsOf.get(process.guid) ?? [], world))
    rowsOf.delete(process.guid)
  }
  for (const rows of rowsOf.values()) actions.push(...rows.flatMap((row) => planRow(row, undefined, copiesOf(rows), world)))
  return actions
}

function planProcess<Row extends ActualInstance>(
  process: DesiredProcess,
  rows: readonly Row[],
  world: ConvergenceWorld<Row>,
): ConvergenceAction<Row>[] {
  const copies = copiesOf(rows)
  const actions = rows.flatMap((row) => planRow(row, process, copies, world))
  const held = new Map<number, 'held' | 'cell-lost' | 'cell-draining'>()
  for (const row of rows) if (row.presence === 'ordinary' && row.specVersion === process.specVersion) held.set(row.index, 'held')
  for (const action of actions) {
    if (action.kind !== 'change-presence') continue
    // Whoever leaves the ordinary place needs a successor; whoever takes it is one.
    held.set(action.row.index, action.reason === 'cell-is-back' ? 'held' : action.reason)
  }
  for (let index = 0; index < process.instances; index++) {
    const place = held.get(index)
    if (place !== 'held') actions.push({ kind: 'create', process, index, reason: place ?? 'missing' })
  }
  return actions
}

type Copies<Row> = (row: InstanceKey, presence: InstanceKey['presence']) => Row | undefined

function copiesOf<Row extends ActualInstance>(rows: readonly Row[]): Copies<Row> {
  const byKey = new Map(rows.map((row) => [`${row.specVersion}/${row.index}/${row.presence}`, row]))
  return (row, presence) => byKey.get(`${row.specVersion}/${row.index}/${presence}`)
}

function planRow<Row extends ActualInstance>(
  row: Row,
  process: DesiredProcess | undefined,
  copies: Copies<Row>,
  world: ConvergenceWorld<Row>,
): ConvergenceAction<Row>[] {
  const unwanted = unwantedReason(row, process)
  if (row.state === 'stopping') return planStopping(row, unwanted, world)
  if (unwanted) return [endUnwanted(row, unwanted, world)]
  switch (row.presence) {
    case 'ordinary':
      return planOrdinary(row, copies, world)
    case 'suspect':
    case 'evacuating':
      return planExtraCopy(row, copies, world)
  }
}

function unwantedReason(
  row: InstanceKey,
  process: DesiredProcess | undefined,
): 'not-desired' | 'older-version' | 'index-too-high' | undefined {
  if (!process || process.instances === 0) return 'not-desired'
  if (row.specVersion !== process.specVersion) return 'older-version'
  return row.index < process.instances ? undefined : 'index-too-high'
}

/** Nobody answers for what is on it, and this is not a moment of general silence. */
const isLost = (row: ActualInstance, { cells }: ConvergenceWorld): boolean =>
  row.cellId !== null && !cells.present.has(row.cellId) && cells.hold === undefined

function planStopping<Row extends ActualInstance>(
  row: Row,
  unwanted: StopReason | undefined,
  world: ConvergenceWorld<Row>,
): ConvergenceAction<Row>[] {
  const nobodyToAsk = row.cellId === null || isLost(row, world)
  if (nobodyToAsk) {
    return unwanted || row.presence !== 'ordinary'
      ? [{ kind: 'remove', row, reason: row.cellId === null ? (unwanted ?? 'replaced') : 'cell-lost' }]
      : [{ kind: 'unclaim', row, reason: row.cellId === null ? 'restart' : 'cell-lost' }]
  }
  return row.stopPhase === null ? [{ kind: 'stop', row, reason: row.stopReason ?? 'restart' }] : []
}

function endUnwanted<Row extends ActualInstance>(
  row: Row,
  reason: StopReason,
  world: ConvergenceWorld<Row>,
): ConvergenceAction<Row> {
  const canBeTold = isOnCell(row) && !isLost(row, world)
  return canBeTold ? { kind: 'stop', row, reason } : { kind: 'remove', row, reason }
}

function planOrdinary<Row extends ActualInstance>(
  row: Row,
  copies: Copies<Row>,
  world: ConvergenceWorld<Row>,
): ConvergenceAction<Row>[] {
  if (row.state === 'crashed')
    return isRestartDue({ ...row, now: world.now }) ? [{ kind: 'unclaim', row, reason: 'backoff-elapsed' }] : []
  if (!isOnCell(row)) return []
  if (isLost(row, world)) {
    // Never two suspects of one index, and what has not started yet has nothing to keep.
    const startAnew = row.state === 'claimed' || copies(row, 'suspect') !== undefined
    return startAnew
      ? [{ kind: 'unclaim', row, reason: 'cell-lost' }]
      : [{ kind: 'change-presence', row, to: 'suspect', reason: 'cell-lost' }]
  }
  return planDraining(row, copies, world)
}

function planDraining<Row extends ActualInstance>(
  row: Row,
  copies: Copies<Row>,
  { cells }: ConvergenceWorld<Row>,
): ConvergenceAction<Row>[] {
  if (row.cellId === null || !cells.draining.has(row.cellId)) return []
  const elsewhere = cells.present.size > cells.draining.size
  if (!elsewhere) return []
  if (row.state === 'claimed') return [{ kind: 'unclaim', row, reason: 'cell-draining' }]
  return copies(row, 'evacuating') ? [] : [{ kind: 'change-presence', row, to: 'evacuating', reason: 'cell-draining' }]
}

/** A suspect or evacuating copy, beside its ordinary successor. */
function planExtraCopy<Row extends ActualInstance>(
  row: Row,
  copies: Copies<Row>,
  world: ConvergenceWorld<Row>,
): ConvergenceAction<Row>[] {
  const { cells } = world
  const successor = copies(row, 'ordinary')
  const successorServes = successor?.state === 'running' && (successor.routable || !row.routable) && !isLost(successor, world)
  const answers = row.cellId !== null && cells.present.has(row.cellId)
  if (!answers) {
    if (successorServes) return [{ kind: 'remove', row, reason: 'replaced' }]
    return row.presence === 'evacuating' && isLost(row, world) ? [{ kind: 'remove', row, reason: 'cell-lost' }] : []
  }
  if (successorServes) return [{ kind: 'stop', row, reason: row.presence === 'evacuating' ? 'evacuated' : 'replaced' }]
  if (row.cellId !== null && cells.draining.has(row.cellId)) {
    return successor?.state === 'crashed' ? [{ kind: 'stop', row, reason: 'evacuated' }] : []
  }
  if (successor?.state === 'stopping' || successor?.state === 'running') return []
  const suspect = row.presence === 'evacuating' ? copies(row, 'suspect') : undefined
  if (suspect?.state === 'running' && suspect.cellId !== null && cells.present.has(suspect.cellId)) {
    // Both are back; one takes the place.
    return suspect.routable || !row.routable ? [{ kind: 'stop', row, reason: 'replaced' }] : []
  }
  const takeBack: ConvergenceAction<Row> = { kind: 'change-presence', row, to: 'ordinary', reason: 'cell-is-back' }
  return successor ? [{ kind: 'remove', row: successor, reason: 'suspect-is-back' }, takeBack] : [takeBack]
}
