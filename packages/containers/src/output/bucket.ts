/** Fills at a steady rate up to a burst; may be overdrawn once, and then wants patience. */
export class Bucket {
  tokens: number
  constructor(
    private readonly burst: number,
    private readonly perSecond: number,
    private atMs: number,
  ) {
    this.tokens = burst
  }

  refill(nowMs: number): void {
    this.tokens = Math.min(this.burst, this.tokens + ((nowMs - this.atMs) * this.perSecond) / 1000)
    this.atMs = nowMs
  }
}
