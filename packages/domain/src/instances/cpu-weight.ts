const MIN_MEMORY_MB = 128
const MAX_MEMORY_MB = 8192

/** Cloud Foundry's share of the processor, 1..100, in proportion to memory between 128 MB and 8 GB. */
export const cpuWeight = (memoryMb: number): number =>
  Math.trunc((100 * Math.min(Math.max(memoryMb, MIN_MEMORY_MB), MAX_MEMORY_MB)) / MAX_MEMORY_MB)
