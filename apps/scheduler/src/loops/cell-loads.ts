import { groupBy, isOnCell, occupiesCell, type PlacementCell } from '@bloomery/domain'
import type { CellRow, InstanceRow, StagingReservation } from '../state/rows.js'

/** What each cell offers and what is taken of it, by its instances and by builds that run there. */
export function loadsOf(
  cells: readonly CellRow[],
  actual: readonly InstanceRow[],
  staging: readonly StagingReservation[],
): PlacementCell[] {
  const rowsOf = groupBy(actual.filter(occupiesCell), ({ cellId }) => cellId)
  return cells.map((cell) => {
    const rows = rowsOf.get(cell.id) ?? []
    const builds = staging.filter((build) => runsOn(build, cell, cells))
    const instancesOf = new Map<string, number>()
    for (const { processGuid } of rows.filter(isOnCell)) instancesOf.set(processGuid, (instancesOf.get(processGuid) ?? 0) + 1)
    return {
      ...cell,
      usedMemoryMb: sum([...rows, ...builds], ({ memoryMb }) => memoryMb),
      usedDiskMb: sum([...rows, ...builds], ({ diskMb }) => diskMb),
      usedInstances: rows.length,
      starting: rows.filter(({ state }) => state === 'claimed').length,
      instancesOf,
    }
  })
}

/** A stager shares the machine of the cell that has its id, or of the only cell there is. */
const runsOn = ({ claimedBy }: StagingReservation, cell: CellRow, cells: readonly CellRow[]): boolean =>
  cells.length === 1 || claimedBy.split(/[:/]/).includes(cell.id)

const sum = <T>(items: readonly T[], valueOf: (item: T) => number): number =>
  items.reduce((total, item) => total + valueOf(item), 0)
