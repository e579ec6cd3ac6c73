import { groupBy } from '../collections/group-by.js'

/** What a cell offers and what is taken of it already, stopping instances and staging included. */
export interface PlacementCell {
  readonly id: string
  readonly zone: string
  readonly stacks: readonly string[]
  readonly memoryMb: number
  readonly diskMb: number
  readonly maxInstances: number
  readonly usedMemoryMb: number
  readonly usedDiskMb: number
  readonly usedInstances: number
  readonly starting: number
  /** Instances on this cell, by process. */
  readonly instancesOf: ReadonlyMap<string, number>
}

/** An instance that waits for a place. */
export interface PlacementRequest {
  readonly processGuid: string
  readonly index: number
  readonly memoryMb: number
  readonly diskMb: number
  readonly stack: string
}

/** Why a cell was not taken. */
export type PlacementConstraint = 'stack' | 'memory' | 'disk' | 'containers'
export interface Placement<R extends PlacementRequest> {
  readonly request: R
  readonly cellId: string
  readonly score: number
  readonly excluded: readonly { readonly cellId: string; readonly constraints: readonly PlacementConstraint[] }[]
}
export interface PlacementFailure<R extends PlacementRequest> {
  readonly request: R
  /** Cloud Foundry's words. */
  readonly error: string
  readonly excluded: readonly { readonly cellId: string; readonly constraints: readonly PlacementConstraint[] }[]
}
export interface PlacementPlan<R extends PlacementRequest> {
  readonly placed: readonly Placement<R>[]
  readonly failed: readonly PlacementFailure<R>[]
}
export interface PlacementOptions {
  /** Limit on instances that start at once on all cells; 0 is no limit. */
  readonly maxStarting?: number
}

const STARTING_WEIGHT = 0.25
const SAME_PROCESS_WEIGHT = 1000

interface CellLoad {
  readonly cell: PlacementCell
  memoryMb: number
  diskMb: number
  instances: number
  starting: number
  readonly instancesOf: Map<string, number>
}

/**
 * Gives each request the cell with the lowest score: even load, few starting at once, and instances of one process apart, first
 * over zones, then over cells. Deterministic: equal scores go to the cell that comes first by its id.
 */
export function planPlacement<R extends PlacementRequest>(
  requests: readonly R[],
  cells: readonly PlacementCell[],
  options: PlacementOptions = {},
): PlacementPlan<R> {
  const loads = [...cells].sort((a, b) => (a.id < b.id ? -1 : 1)).map(loadOf)
  const placed: Placement<R>[] = []
  const failed: PlacementFailure<R>[] = []
  for (const request of inBatchOrder(requests)) {
    if (options.maxStarting && totalStarting(loads) >= options.maxStarting) {
      failed.push({ request, error: 'waiting to start instance: reached in-flight start limit', excluded: [] })
      continue
    }
    const fits = loads.map((load) => ({ load, constraints: violatedConstraints(load, request) }))
    const excluded = fits
      .filter(({ constraints }) => constraints.length > 0)
      .map(({ load, constraints }) => ({ cellId: load.cell.id, constraints }))
    const best = bestOf(
      fits.filter(({ constraints }) => constraints.length === 0).map(({ load }) => load),
      loads,
      request,
    )
    if (best) {
      placed.push({ request, cellId: best.load.cell.id, score: best.score, excluded })
      take(best.load, request)
    } else failed.push({ request, error: placementError(excluded), excluded })
  }
  return { placed, failed }
}

/** The first instance of everybody before the second of anybody; the large before the small. */
const inBatchOrder = <R extends PlacementRequest>(requests: readonly R[]): R[] =>
  [...requests].sort(
    (a, b) =>
      a.index - b.index ||
      b.memoryMb - a.memoryMb ||
      (a.processGuid < b.processGuid ? -1 : a.processGuid > b.processGuid ? 1 : 0),
  )

const loadOf = (cell: PlacementCell): CellLoad => ({
  cell,
  memoryMb: cell.usedMemoryMb,
  diskMb: cell.usedDiskMb,
  instances: cell.usedInstances,
  starting: cell.starting,
  instancesOf: new Map(cell.instancesOf),
})

const totalStarting = (loads: readonly CellLoad[]): number => loads.reduce((sum, { starting }) => sum + starting, 0)

function violatedConstraints({ cell, memoryMb, diskMb, instances }: CellLoad, request: PlacementRequest): PlacementConstraint[] {
  if (!cell.stacks.includes(request.stack)) return ['stack']
  const violated: PlacementConstraint[] = []
  if (instances + 1 > cell.maxInstances) violated.push('containers')
  if (diskMb + request.diskMb > cell.diskMb) violated.push('disk')
  if (memoryMb + request.memoryMb > cell.memoryMb) violated.push('memory')
  return violated
}

function bestOf(
  feasible: readonly CellLoad[],
  all: readonly CellLoad[],
  request: PlacementRequest,
): { load: CellLoad; score: number } | undefined {
  const inZone = groupBy(feasible, ({ cell }) => cell.zone)
  const countOf = new Map<string, number>()
  for (const load of all)
    countOf.set(load.cell.zone, (countOf.get(load.cell.zone) ?? 0) + (load.instancesOf.get(request.processGuid) ?? 0))
  const fewest = Math.min(...[...inZone.keys()].map((zone) => countOf.get(zone) ?? 0))
  let best: { load: CellLoad; score: number } | undefined
  for (const load of feasible) {
    if ((countOf.get(load.cell.zone) ?? 0) !== fewest) continue
    const score = scoreOf(load, request)
    if (!best || score < best.score) best = { load, score }
  }
  return best
}

function scoreOf({ cell, memoryMb, diskMb, instances, starting, instancesOf }: CellLoad, request: PlacementRequest): number {
  const resources =
    ((memoryMb + request.memoryMb) / Math.max(cell.memoryMb, 1) +
      (diskMb + request.diskMb) / Math.max(cell.diskMb, 1) +
      (instances + 1) / Math.max(cell.maxInstances, 1)) /
    3
  return resources + starting * STARTING_WEIGHT + SAME_PROCESS_WEIGHT * (instancesOf.get(request.processGuid) ?? 0)
}

function take(load: CellLoad, request: PlacementRequest): void {
  load.memoryMb += request.memoryMb
  load.diskMb += request.diskMb
  load.instances += 1
  load.starting += 1
  load.instancesOf.set(request.processGuid, (load.instancesOf.get(request.processGuid) ?? 0) + 1)
}

/** Cloud Foundry's sentence for what every cell was excluded by; the furthest filter that any cell reached decides. */
function placementError(excluded: readonly { readonly constraints: readonly PlacementConstraint[] }[]): string {
  if (excluded.length === 0) return 'unable to communicate to compatible cells'
  const compatible = excluded.filter(({ constraints }) => !constraints.includes('stack'))
  if (compatible.length === 0) return 'found no compatible cell for required rootfs'
  const lacking = (['containers', 'disk', 'memory'] as const).filter((resource) =>
    compatible.every(({ constraints }) => constraints.includes(resource)),
  )
  return lacking.length > 0 ? `insufficient resources: ${lacking.join(', ')}` : 'insufficient resources'
}
