const MIB = 1024 ** 2
const GIB = 1024 ** 3
/** Faster than a build writes to anything but memory; a build that is quicker than this is quicker than being told to end. */
const FASTEST_BYTES_PER_SECOND = 4 * GIB
const LONGEST_MS = 250
const SHORTEST_MS = 10

/** Of a file system on which builds write: all of it, and what is left. */
export interface FileSystem {
  readonly totalBytes: number
  readonly freeBytes: number
}

/**
 * What builds leave free on the machine's file system for everybody else: a tenth of it, at least 256 MiB and at most 2 GiB. It is also what a
 * build may still write between the look that condemns it and its end.
 */
export function diskReserveBytes({ totalBytes }: Pick<FileSystem, 'totalBytes'>): number {
  return Math.min(2 * GIB, Math.max(256 * MIB, totalBytes / 10))
}

export const isMachineFull = (disk: FileSystem): boolean => disk.freeBytes < diskReserveBytes(disk)

/** How long may pass until the next look, so that nobody can write from here to the reserve in between; less and less towards the end. */
export function untilNextLookMs(disk: FileSystem): number {
  const spare = disk.freeBytes - diskReserveBytes(disk)
  return Math.min(LONGEST_MS, Math.max(SHORTEST_MS, Math.floor((spare / FASTEST_BYTES_PER_SECOND) * 1000)))
}
