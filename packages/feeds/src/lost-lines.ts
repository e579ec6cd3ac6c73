const MAX_SOURCES = 10_000

/** Lines per app that had no room. Bounded: beyond ten thousand apps the oldest count is forgotten. */
export class LostLines {
  private readonly counts = new Map<string, number>()

  add(sourceId: string, count = 1): void {
    if (!this.counts.has(sourceId) && this.counts.size >= MAX_SOURCES) {
      const [oldest] = this.counts.keys()
      if (oldest !== undefined) this.counts.delete(oldest)
    }
    this.counts.set(sourceId, (this.counts.get(sourceId) ?? 0) + count)
  }

  /** The count so far, which begins anew. */
  take(sourceId: string): number {
    const count = this.counts.get(sourceId) ?? 0
    if (count > 0) this.counts.delete(sourceId)
    return count
  }

  takeAll(): (readonly [sourceId: string, count: number])[] {
    const all = [...this.counts]
    this.counts.clear()
    return all
  }
}
