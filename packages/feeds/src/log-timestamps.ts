/** Nanoseconds since the epoch, each greater than the last: unique over all sources of whoever holds it. */
export function createTimestamps(now: () => number = Date.now): () => string {
  let last = 0n
  return () => {
    const wall = BigInt(now()) * 1_000_000n
    last = wall > last ? wall : last + 1n
    return last.toString()
  }
}
