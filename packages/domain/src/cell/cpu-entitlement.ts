/** Cores to which an instance is entitled: the share of the cell's that its memory is of the cell's memory. */
export const entitledCores = (memoryMb: number, cell: { memoryMb: number; cores: number }): number =>
  (cell.cores * memoryMb) / Math.max(1, cell.memoryMb)
