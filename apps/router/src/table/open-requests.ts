/** Requests under way by instance, to know when one that was withdrawn has answered its last: nothing is ended before. */
export class OpenRequests {
  readonly #open = new Map<string, number>()
  readonly #withdrawn = new Set<string>()
  readonly #listeners: (() => void)[] = []

  /** Withdrawn instances that still answer. */
  get answering(): string[] {
    return [...this.#withdrawn]
  }

  /** Called when a withdrawn instance has answered its last request. */
  onAnswered(listener: () => void): void {
    this.#listeners.push(listener)
  }

  /** Counts a request; the returned function ends it. */
  begin(instanceGuid: string): () => void {
    this.#open.set(instanceGuid, (this.#open.get(instanceGuid) ?? 0) + 1)
    let ended = false
    return () => {
      if (ended) return
      ended = true
      const count = (this.#open.get(instanceGuid) ?? 1) - 1
      if (count > 0) return void this.#open.set(instanceGuid, count)
      this.#open.delete(instanceGuid)
      if (this.#withdrawn.delete(instanceGuid)) for (const listener of this.#listeners) listener()
    }
  }

  /** No route names the instance any more. */
  withdraw(instanceGuid: string): void {
    if (this.#open.has(instanceGuid)) this.#withdrawn.add(instanceGuid)
  }
}
