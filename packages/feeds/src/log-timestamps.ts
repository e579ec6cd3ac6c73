const NANOS_OF_A_MS = 1_000_000

/** Nanoseconds since the epoch, each greater than the last: unique over all sources of whoever holds it. */
export function createTimestamps(now: () => number = Date.now): () => string {
  // Two numbers instead of a BigInt: every line of every app gets one.
  let ms = 0
  let nanos = 0
  return () => {
    const wall = now()
    if (wall > ms) {
      ms = wall
      nanos = 0
    } else if (++nanos === NANOS_OF_A_MS) {
      ms++
      nanos = 0
    }
    return `${ms}${String(nanos).padStart(6, '0')}`
  }
}
