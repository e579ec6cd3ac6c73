/** What convergence needs to know of a cell. */
export interface CellPresence {
  readonly id: string
  readonly lastSeenAt: Date
  readonly draining: boolean
}

export interface CellLossLimits {
  /** Silence after which a cell counts as missing. */
  readonly missingAfterMs: number
  /** Cells that fell silent within this span vanished "together". */
  readonly togetherMs: number
}
export const CELL_LOSS_LIMITS: CellLossLimits = { missingAfterMs: 15_000, togetherMs: 5 * 60_000 }

export interface CellView {
  /** Answering: may keep what it has; takes new work unless it drains. */
  readonly present: ReadonlySet<string>
  readonly draining: ReadonlySet<string>
  /**
   * Set when so many cells fell silent together that the fault is more likely on the control plane's side than on theirs:
   * nothing of theirs is replaced or withdrawn.
   */
  readonly hold: string | undefined
}

/**
 * Which cells answer. More than a third of three or more cells, or all of them, falling silent together puts everything on hold,
 * for five minutes where others still answer, and for as long as it lasts where none does.
 */
export function viewCells(cells: readonly CellPresence[], now: Date, limits: CellLossLimits = CELL_LOSS_LIMITS): CellView {
  const silentMs = (cell: CellPresence): number => now.getTime() - cell.lastSeenAt.getTime()
  const present = cells.filter((cell) => silentMs(cell) <= limits.missingAfterMs)
  const vanished = cells.filter((cell) => silentMs(cell) > limits.missingAfterMs && silentMs(cell) <= limits.togetherMs)
  const several = present.length + vanished.length
  return {
    present: new Set(present.map(({ id }) => id)),
    draining: new Set(present.filter(({ draining }) => draining).map(({ id }) => id)),
    hold: holdReason(present.length, vanished.length, several),
  }
}

function holdReason(present: number, vanished: number, several: number): string | undefined {
  if (present === 0) return 'no cell answers'
  if (several >= 3 && vanished * 3 > several) return `${vanished} of ${several} cells fell silent together`
  return undefined
}
