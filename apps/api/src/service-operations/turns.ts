/** How many steps run at once, for each broker and in all: one that hangs holds up itself alone. */
export class Turns {
  readonly #running = new Map<string, number>()
  #total = 0
  constructor(
    readonly perBroker: number,
    readonly inAll: number,
  ) {}

  get room(): number {
    return this.inAll - this.#total
  }

  /** Brokers that have no room left. */
  get full(): string[] {
    return [...this.#running].filter(([, count]) => count >= this.perBroker).map(([broker]) => broker)
  }

  take(broker: string): boolean {
    const running = this.#running.get(broker) ?? 0
    if (running >= this.perBroker || this.#total >= this.inAll) return false
    this.#running.set(broker, running + 1)
    this.#total++
    return true
  }

  give(broker: string): void {
    const running = (this.#running.get(broker) ?? 1) - 1
    if (running === 0) this.#running.delete(broker)
    else this.#running.set(broker, running)
    this.#total--
  }
}
