import { CellReport, RegisterCell, type CellDesired, type CellRegistered, type CellReported } from '@bloomery/contracts'
import { areLeftoversAsked, execute, rows, sql, type Pool } from '@bloomery/database/sql'
import type { Logger } from '@bloomery/telemetry'
import { applyReport } from '../cells/apply-report.js'
import type { CellSessions } from '../cells/cell-sessions.js'
import { buildDocument, readWish, type CellWish, type DocumentDeps } from '../cells/desired-document.js'
import type { Clock } from '../clock.js'
import { guarded } from '../leadership/guarded.js'
import { Effects } from '../loops/effects.js'
import type { Leader } from '../loops/leader.js'
import { askDeleted, machineOf, tellLeftovers } from './cell-leftovers.js'
import { RefusedError, type Endpoint, type InternalRequest } from './internal-api.js'

const LONG_POLL_MS = 20_000
/** How long a new agent's first report is waited for before it is told what it shall hold. */
const FIRST_REPORT_MS = 7_000

export interface CellEndpointDeps extends DocumentDeps {
  readonly pool: Pool
  readonly clock: Clock
  readonly log: Logger
  readonly sessions: CellSessions
  /** Throws a RefusedError while another scheduler leads, or none. */
  readonly leader: () => Leader
  readonly serial: <T>(work: () => Promise<T>) => Promise<T>
  readonly sendEffects: (effects: Effects) => void
}

/** The cell protocol; contracts has its description. */
export const cellEndpoints = (deps: CellEndpointDeps): Endpoint[] => [
  { method: 'POST', path: '/v1/cells/register', roles: ['cell'], handle: (request) => register(deps, request) },
  { method: 'GET', path: '/v1/cells/desired', roles: ['cell'], handle: (request) => desired(deps, request) },
  { method: 'POST', path: '/v1/cells/report', roles: ['cell'], handle: (request) => report(deps, request) },
  { method: 'POST', path: '/v1/cells/droplets/deleted', roles: ['cell'], handle: (request) => askDeleted(deps, request) },
  { method: 'POST', path: '/v1/cells/leftovers', roles: ['cell'], handle: (request) => tellLeftovers(deps, request) },
]

async function register(deps: CellEndpointDeps, { peer, body }: InternalRequest): Promise<{ json: CellRegistered }> {
  const cell = await body(RegisterCell)
  const { lease } = deps.leader()
  const now = deps.clock.now()
  if (!deps.sessions.begin(peer.nodeId, cell.epoch)) throw new RefusedError(409, 'A newer agent of this cell has registered.')
  await guarded(deps.pool, lease, (on) =>
    execute(
      on,
      sql`INSERT INTO cells (id, epoch, zone, address, engine, stacks, memory_mb, disk_mb, max_instances, version, registered_at, last_seen_at)
          VALUES (${peer.nodeId}, ${cell.epoch}, ${cell.zone}, ${cell.address}, ${cell.engine}, ${cell.stacks}, ${cell.memoryMb},
            ${cell.diskMb}, ${cell.maxInstances}, ${cell.version}, ${now}, ${now})
          ON CONFLICT (id) DO UPDATE SET epoch = EXCLUDED.epoch, zone = EXCLUDED.zone, address = EXCLUDED.address,
            engine = EXCLUDED.engine, stacks = EXCLUDED.stacks, memory_mb = EXCLUDED.memory_mb, disk_mb = EXCLUDED.disk_mb,
            max_instances = EXCLUDED.max_instances, version = EXCLUDED.version, registered_at = EXCLUDED.registered_at,
            last_seen_at = EXCLUDED.last_seen_at, state = 'active'`,
    ),
  )
  deps.log.info({ cellId: peer.nodeId, epoch: cell.epoch }, 'cell registered')
  deps.leader().nudge()
  return { json: { cellId: peer.nodeId, leaseToken: String(lease.token) } }
}

async function report(deps: CellEndpointDeps, { peer, body }: InternalRequest): Promise<{ json: CellReported }> {
  const seen = await body(CellReport)
  const cellId = peer.nodeId
  const answer = await deps.serial(async () => {
    const leader = deps.leader()
    const { lease } = leader
    const effects = new Effects()
    const applied = await appliedWish(deps, cellId, seen.appliedRevision)
    const { moved, asked } = await guarded(deps.pool, lease, async (on) => {
      const now = deps.clock.now()
      const draining = seen.draining ? 'draining' : 'active'
      const appliedRevision = /^\d{1,18}$/.test(seen.appliedRevision) ? seen.appliedRevision : '0'
      const [before] = await rows<{ state: string; epoch: string }>(
        on,
        sql`SELECT state, epoch FROM cells WHERE id = ${cellId} FOR UPDATE`,
      )
      if (!before) throw new RefusedError(409, 'This cell is not registered; register first.')
      if (before.epoch !== seen.epoch) throw new RefusedError(409, 'Another agent of this cell has registered since.')
      await execute(
        on,
        sql`UPDATE cells SET last_seen_at = ${now}, state = ${draining}, applied_revision = ${appliedRevision} WHERE id = ${cellId}`,
      )
      const changed = await applyReport(seen, { on, cellId, leaseToken: lease.token, now, applied, effects })
      return { moved: changed || before.state !== draining, asked: await areLeftoversAsked(on, machineOf(cellId)) }
    })
    deps.sessions.resume(cellId, seen.epoch)
    deps.sessions.noteReport(cellId, {
      engineHealthy: seen.engineHealthy,
      running: seen.instances.filter(({ state }) => state === 'running').length,
    })
    deps.sendEffects(effects)
    if (moved) {
      deps.sessions.wake(cellId)
      leader.nudge()
    }
    return { leaseToken: String(lease.token), ...(asked ? { leftoversAsked: true } : {}) }
  })
  return { json: answer }
}

/** After a change of leader the wish of old is known again as soon as it equals the present one. */
async function appliedWish(deps: CellEndpointDeps, cellId: string, revision: string) {
  const known = deps.sessions.wishOf(cellId, revision)
  if (known || revision === '') return known
  const wish = await readWish(deps.pool, cellId)
  deps.sessions.remember(cellId, wish)
  return deps.sessions.wishOf(cellId, revision)
}

async function desired(deps: CellEndpointDeps, { peer, url, signal }: InternalRequest): Promise<{ json: CellDesired }> {
  const cellId = peer.nodeId
  const after = url.searchParams.get('after') ?? ''
  const until = performance.now() + LONG_POLL_MS
  await checkEpoch(deps, cellId, url.searchParams.get('epoch') ?? '')
  await untilReported(deps, cellId, signal)
  for (;;) {
    const wish = await readWish(deps.pool, cellId)
    const left = until - performance.now()
    if (wish.instances.length === 0) await refuseWhileDatabaseIsEmpty(deps, cellId)
    if (wish.revision !== after || left <= 0) return { json: await present(deps, cellId, wish) }
    await deps.sessions.changed(cellId, left, signal)
    if (signal.aborted) throw new RefusedError(503, 'The caller has gone.')
    deps.leader()
  }
}

async function present(deps: CellEndpointDeps, cellId: string, wish: CellWish): Promise<CellDesired> {
  const { lease } = deps.leader()
  deps.sessions.remember(cellId, wish)
  return buildDocument(deps.pool, wish, lease.token, deps)
}

async function checkEpoch(deps: CellEndpointDeps, cellId: string, epoch: string): Promise<void> {
  deps.leader()
  const [cell] = await rows<{ epoch: string }>(deps.pool, sql`SELECT epoch FROM cells WHERE id = ${cellId}`)
  if (!cell) throw new RefusedError(409, 'This cell is not registered; register first.')
  if (cell.epoch !== epoch) throw new RefusedError(409, 'Another agent of this cell has registered since.')
  deps.sessions.resume(cellId, epoch)
}

/** A database without a single run spec is new or half restored: a cell that runs something is not told to stop it all. */
async function refuseWhileDatabaseIsEmpty({ pool, sessions, log }: CellEndpointDeps, cellId: string): Promise<void> {
  if (!sessions.runsAnything(cellId)) return
  const known = await rows(pool, sql`SELECT 1 FROM run_specs LIMIT 1`)
  if (known.length > 0) return
  log.warn({ cellId }, 'the cell runs instances, but the database knows of no app; it is told nothing')
  throw new RefusedError(
    503,
    'The database knows of no app at all, so nothing is stopped: restore it, or empty the cell by hand.',
  )
}

/** What an agent found running has to be on record before it is told what to hold, or what the record lacks would be stopped. */
async function untilReported(deps: CellEndpointDeps, cellId: string, signal: AbortSignal): Promise<void> {
  const until = performance.now() + FIRST_REPORT_MS
  while (!deps.sessions.hasReported(cellId) && !signal.aborted) {
    const left = until - performance.now()
    if (left <= 0) throw new RefusedError(503, "This agent's first report has not come yet.")
    await deps.sessions.changed(cellId, left, signal)
  }
}
