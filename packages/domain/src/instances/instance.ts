/** States of one actual instance, as the field calls them. */
export type InstanceState = 'unclaimed' | 'claimed' | 'running' | 'crashed' | 'stopping'
/** ordinary: the copy that counts. evacuating: serves on while its cell drains. suspect: serves on while its cell is out of sight. */
export type Presence = 'ordinary' | 'evacuating' | 'suspect'
/** unroute: routers are letting go of it. term: the cell shall end it. */
export type StopPhase = 'unroute' | 'term'

/** What names a row of actual state. */
export interface InstanceKey {
  readonly processGuid: string
  readonly specVersion: number
  readonly index: number
  readonly presence: Presence
}

/** One row of actual state, as far as decisions depend on it. */
export interface ActualInstance extends InstanceKey {
  readonly specGuid: string
  readonly instanceGuid: string | null
  readonly cellId: string | null
  readonly state: InstanceState
  readonly stateSince: Date
  readonly crashCount: number
  readonly crashedAt: Date | null
  readonly placementError: string | null
  readonly routable: boolean
  readonly stopPhase: StopPhase | null
  readonly stopReason: string | null
  readonly stopSince: Date | null
}

const TRANSITIONS = {
  unclaimed: ['claimed', 'running', 'stopping'],
  claimed: ['unclaimed', 'running', 'crashed', 'stopping'],
  running: ['unclaimed', 'claimed', 'crashed', 'stopping'],
  crashed: ['unclaimed', 'running', 'stopping'],
  stopping: ['unclaimed'],
} as const satisfies Record<InstanceState, readonly InstanceState[]>

/**
 * Whether a row may go from one state to another. `unclaimed → running` adopts an instance whose row was lost,
 * `running → claimed` is a cell's own restart, `stopping → unclaimed` the second half of a restart of one index.
 */
export const allowsTransition = (from: InstanceState, to: InstanceState): boolean =>
  (TRANSITIONS[from] as readonly InstanceState[]).includes(to)

/** On a cell, and meant to stay there. */
export const isOnCell = (row: Pick<ActualInstance, 'state' | 'cellId'>): boolean =>
  row.cellId !== null && (row.state === 'claimed' || row.state === 'running')

/** Holds memory and disk of a cell: also while it stops. */
export const occupiesCell = (row: Pick<ActualInstance, 'state' | 'cellId'>): boolean => isOnCell(row) || isStoppingOnCell(row)

export const isStoppingOnCell = (row: Pick<ActualInstance, 'state' | 'cellId'>): boolean =>
  row.cellId !== null && row.state === 'stopping'

/** May be given to routers, whatever its presence. */
export const isRoutable = (row: Pick<ActualInstance, 'state' | 'routable'>): boolean => row.state === 'running' && row.routable

/** Identity of a key, for maps. */
export const instanceKeyText = (key: InstanceKey): string => `${key.processGuid}/${key.specVersion}/${key.index}/${key.presence}`
