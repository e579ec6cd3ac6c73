/** What waits to be acknowledged by the log store, oldest first. */
export interface LogSpool {
  /** Bytes that wait. */
  readonly bytes: number
  /** Sequences of new batches start above this. */
  readonly lastSequence: number
  /** How far each input was taken when the process last ran. */
  readonly cursors: ReadonlyMap<string, string>
  append(batch: SpooledBatch): Promise<void>
  /** The oldest batch that waits. */
  peek(): Promise<SpooledBatch | undefined>
  /** Lets go of the oldest batch. */
  acknowledge(): Promise<void>
  forgetCursor(key: string): void
  close(): Promise<void>
}

export interface SpooledBatch {
  readonly sequence: number
  /** The IngestBatch as JSON. */
  readonly body: Buffer
  /** Positions of inputs up to which this batch and those before it hold everything. */
  readonly cursors?: ReadonlyMap<string, string>
}

/** Waits in memory; what waits dies with the process. */
export class MemoryLogSpool implements LogSpool {
  readonly lastSequence = 0
  readonly cursors: ReadonlyMap<string, string> = new Map()
  private readonly batches: SpooledBatch[] = []
  private held = 0

  get bytes(): number {
    return this.held
  }
  async append(batch: SpooledBatch): Promise<void> {
    this.batches.push(batch)
    this.held += batch.body.length
  }
  async peek(): Promise<SpooledBatch | undefined> {
    return this.batches[0]
  }
  async acknowledge(): Promise<void> {
    this.held -= this.batches.shift()?.body.length ?? 0
  }
  forgetCursor(): void {
    // Nothing outlives the process, so there are no cursors.
  }
  async close(): Promise<void> {
    // Nothing is open.
  }
}
