import { totalmem } from 'node:os'
import type { ClaimedBuild } from '../builds/build-record.js'

/**
 * A quarter of what the smallest app counts: a build takes what processors have left, and next to nothing from those that serve. With more
 * than theirs, builds side by side made small apps answer ten times as late.
 */
export const CPU_WEIGHT = 0.25
export const FILE_DESCRIPTORS = 16_384
/** Threads count too. */
const PROCESSES = 1024
/** What a build prints beyond this would cost the log store more than it tells anybody. */
const LOG_BYTES_PER_SECOND = 4 * 1024 ** 2
const LEAST_MEMORY_MB = 256
const MIB = 1024 ** 2

/** What one build may use. */
export interface BuildLimits {
  readonly memoryMb: number
  readonly diskMb: number
  readonly processes: number
  readonly logRateLimit: number
}

/** As the build asks, but never so much that apps beside it would have nothing left. */
export function limitsOf(
  build: Pick<ClaimedBuild, 'memoryMb' | 'diskMb' | 'logRateLimit'>,
  reserveMb: number,
  machineMb = totalmem() / MIB,
): BuildLimits {
  const most = Math.max(LEAST_MEMORY_MB, Math.floor(machineMb - reserveMb))
  return {
    memoryMb: Math.min(build.memoryMb, most),
    diskMb: build.diskMb,
    processes: PROCESSES,
    logRateLimit: build.logRateLimit < 0 ? LOG_BYTES_PER_SECOND : Math.min(build.logRateLimit, LOG_BYTES_PER_SECOND),
  }
}
