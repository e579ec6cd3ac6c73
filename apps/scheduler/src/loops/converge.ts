import { type Lease, type Pool } from '@bloomery/database/sql'
import {
  instanceKeyText,
  planConvergence,
  planPlacement,
  viewCells,
  type CellView,
  type ConvergenceAction,
  type Placement,
  type PlacementCell,
  type PlacementFailure,
} from '@bloomery/domain'
import type { CellSessions } from '../cells/cell-sessions.js'
import { guarded } from '../leadership/guarded.js'
import type { Snapshot } from '../state/read-state.js'
import { listInstances } from '../state/read-state.js'
import { recordDecisions, type Decision } from '../state/decision-records.js'
import type { DesiredRow, InstanceRow } from '../state/rows.js'
import { InstanceWrites } from '../state/write-instances.js'
import { sql } from '@bloomery/database/sql'
import type { Effects } from './effects.js'
import { loadsOf } from './cell-loads.js'
import { newInstanceGuid } from './instance-guid.js'

/** A start that failed for the platform's sake is tried again after this long. */
const RETRY_START_MS = 5_000

export interface ConvergeDeps {
  readonly pool: Pool
  readonly lease: Lease
  readonly sessions: CellSessions
  readonly effects: Effects
  readonly maxStarting: number
  /** Cells that were there before this term are waited for this long: what they run already must not be placed again. */
  readonly awaitReports: boolean
}

export interface Converged {
  readonly changed: boolean
  /** Why nothing of missing cells is replaced, if so many fell silent. */
  readonly hold: string | undefined
}

type Action = ConvergenceAction<InstanceRow>
type Waiting = Pick<InstanceRow, 'processGuid' | 'specVersion' | 'index' | 'presence' | 'appGuid' | 'placementError'> & {
  readonly memoryMb: number
  readonly diskMb: number
  readonly stack: string
}

/** Compares what shall run with what runs, and writes what follows from it. */
export async function converge(deps: ConvergeDeps, snapshot: Snapshot, now: Date, mayMiss: boolean): Promise<Converged> {
  const seen = viewCells(snapshot.cells, now)
  // Right after a change of leader or an outage silence says nothing yet.
  const view = mayMiss ? seen : { ...seen, hold: seen.hold ?? 'too early to tell which cells are missing' }
  const actions = planConvergence<InstanceRow>({ desired: snapshot.desired, actual: snapshot.actual, cells: view, now })
  const waits = snapshot.actual.some((row) => row.state === 'unclaimed')
  if (actions.length === 0 && !waits) return { changed: false, hold: seen.hold }
  const changed = await guarded(deps.pool, deps.lease, async (on) => {
    const write = new InstanceWrites(on, deps.lease.token, now)
    await perform(actions, write, deps, snapshot.desired)
    // Read back, because rows may have changed since the snapshot and then were left alone.
    const actual = actions.length > 0 ? await listInstances(on, sql`true`) : snapshot.actual
    const plan = planPlacement(waitingOf(actual, snapshot.desired, now), placementCells(snapshot, actual, view, deps.sessions), {
      maxStarting: deps.maxStarting,
    })
    const claimed = await claim(plan.placed, write, deps)
    const failed = plan.failed.filter(({ request, error }) => request.placementError !== error)
    await write.notePlacementErrors(failed.map(({ request, error }) => ({ ...keyOf(request), error })))
    await recordDecisions(on, [...actions.flatMap(decisionOf), ...claimed, ...failed.map(failureDecision)])
    for (const { request } of failed) deps.effects.changed('process', request.processGuid)
    return actions.length > 0 || claimed.length > 0 || failed.length > 0
  })
  return { changed, hold: seen.hold }
}

async function perform(actions: readonly Action[], write: InstanceWrites, deps: ConvergeDeps, desired: readonly DesiredRow[]) {
  const rowsOf = new Map(desired.map((process) => [process.guid, process]))
  const of = <K extends Action['kind']>(kind: K) =>
    actions.filter((action): action is Extract<Action, { kind: K }> => action.kind === kind)
  await write.remove(of('remove').map(({ row }) => row))
  for (const to of ['suspect', 'evacuating', 'ordinary'] as const)
    await write.changePresence(
      of('change-presence')
        .filter((action) => action.to === to)
        .map(({ row }) => row),
      to,
    )
  await write.create(
    of('create').flatMap(({ process, index, reason }) => {
      const row = rowsOf.get(process.guid)
      return row ? [{ process: row, index, detail: CREATED[reason] }] : []
    }),
  )
  await write.unclaim(of('unclaim').map(({ row, reason }) => ({ ...row, detail: UNCLAIMED[reason] })))
  await write.beginStop(
    of('stop').map(({ row, reason }) => ({
      ...row,
      reason,
      // Whatever once could be reached may be in a router's table, or have a request open, even if the feed has dropped it since.
      phase: row.endpoint === null ? ('term' as const) : ('unroute' as const),
    })),
  )
  for (const action of actions)
    deps.effects.changed('process', action.kind === 'create' ? action.process.guid : action.row.processGuid)
}

const CREATED = {
  missing: 'Wanted and not there.',
  'cell-lost': 'Its cell does not answer.',
  'cell-draining': 'Its cell is being drained.',
} as const
const UNCLAIMED = {
  'backoff-elapsed': 'Restarted after a pause.',
  'cell-lost': 'Its cell does not answer.',
  'cell-draining': 'Its cell is being drained.',
  restart: 'Restarted on request.',
} as const

function waitingOf(actual: readonly InstanceRow[], desired: readonly DesiredRow[], now: Date): Waiting[] {
  const specOf = new Map(desired.map((process) => [process.specGuid, process]))
  return actual.flatMap((row) => {
    const spec = specOf.get(row.specGuid)
    const failedLately =
      row.placementError !== null && row.crashedAt !== null && now.getTime() - row.crashedAt.getTime() < RETRY_START_MS
    return row.state === 'unclaimed' && spec && row.index < spec.instances && !failedLately ? [{ ...row, stack: spec.stack }] : []
  })
}

function placementCells(
  snapshot: Snapshot,
  actual: readonly InstanceRow[],
  view: CellView,
  sessions: CellSessions,
): PlacementCell[] {
  const open = snapshot.cells.filter(({ id }) => view.present.has(id) && !view.draining.has(id) && sessions.canStart(id))
  return loadsOf(open, actual, snapshot.staging)
}

async function claim(placed: readonly Placement<Waiting>[], write: InstanceWrites, deps: ConvergeDeps): Promise<Decision[]> {
  const claims = placed.map((placement) => ({ placement, instanceGuid: newInstanceGuid() }))
  const done = await write.claim(
    claims.map(({ placement: { request, cellId }, instanceGuid }) => ({
      ...keyOf(request),
      cellId,
      instanceGuid,
      detail: `Placed on cell ${cellId}.`,
    })),
  )
  const claimed = new Set(done.map(({ instanceGuid }) => instanceGuid))
  for (const { processGuid } of done) deps.effects.changed('process', processGuid)
  return claims
    .filter(({ instanceGuid }) => claimed.has(instanceGuid))
    .map(({ placement: { request, cellId, score, excluded }, instanceGuid }) => ({
      kind: 'placement' as const,
      subjectType: 'process' as const,
      subjectGuid: request.processGuid,
      appGuid: request.appGuid,
      summary: `Placed index ${request.index} on cell ${cellId}.`,
      detail: { index: request.index, instanceGuid, cellId, score: Number(score.toFixed(4)), excluded },
    }))
}

const keyOf = ({ processGuid, specVersion, index, presence }: Waiting) => ({ processGuid, specVersion, index, presence })

const failureDecision = ({ request, error, excluded }: PlacementFailure<Waiting>): Decision => ({
  kind: 'placement',
  subjectType: 'process',
  subjectGuid: request.processGuid,
  appGuid: request.appGuid,
  summary: `No place for index ${request.index}: ${error}.`,
  detail: { index: request.index, error, excluded },
})

/** Creations are explained by the placement that follows. */
function decisionOf(action: Action): Decision[] {
  if (action.kind === 'create') return []
  const { row } = action
  const kind = action.kind === 'unclaim' || action.kind === 'change-presence' ? 'restart' : 'stop'
  const words = {
    unclaim: 'Places index anew',
    stop: 'Stops index',
    remove: 'Forgets index',
    'change-presence': action.kind === 'change-presence' ? `Keeps as ${action.to} the copy of index` : '',
  }[action.kind]
  return [
    {
      kind,
      subjectType: 'process',
      subjectGuid: row.processGuid,
      appGuid: row.appGuid,
      summary: `${words} ${row.index}: ${action.reason}.`,
      detail: {
        key: instanceKeyText(row),
        index: row.index,
        instanceGuid: row.instanceGuid,
        cellId: row.cellId,
        reason: action.reason,
      },
    },
  ]
}
