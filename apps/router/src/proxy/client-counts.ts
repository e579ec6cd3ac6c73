/** How much each client has open here, by its address: connections, and on HTTP/2 the requests under way. */
export class ClientCounts {
  readonly #open = new Map<string, number>()

  /** `most`: of one client; 0: as many as come. */
  constructor(private readonly most: number) {}

  /** Counts one more, which {@link leave} ends; false: the client has as many as it may have, and nothing was counted. */
  enter(address: string): boolean {
    const count = (this.#open.get(address) ?? 0) + 1
    if (this.most > 0 && count > this.most) return false
    this.#open.set(address, count)
    return true
  }

  leave(address: string): void {
    const count = (this.#open.get(address) ?? 1) - 1
    if (count > 0) this.#open.set(address, count)
    else this.#open.delete(address)
  }
}
