import type { ContainerEngine } from '@bloomery/containers'
import type { LogSender } from '@bloomery/feeds'

const KEPT_LINES = 500
const LAST_LINES = 20

/** The staging's part of an app's log. Timestamps only rise, so that readers keep the order. */
export class StagingLog {
  #last = 0n
  #lastAt = 0
  readonly #tail: string[] = []

  constructor(
    private readonly sender: LogSender,
    private readonly appGuid: string,
  ) {}

  /** A line of the platform's own. */
  say(text: string, stream: 'OUT' | 'ERR' = 'OUT', sourceType: 'STG' | 'API' = 'STG'): void {
    for (const line of text.split('\n')) this.#send(line, stream, BigInt(Date.now()) * 1_000_000n, sourceType)
  }

  /** Everything that a container prints, until it ends. */
  async follow(engine: ContainerEngine, name: string, signal: AbortSignal): Promise<void> {
    try {
      for await (const line of engine.output(name, { signal })) {
        this.#tail.push(line.text)
        if (this.#tail.length > KEPT_LINES) this.#tail.shift()
        this.#send(line.text, line.stream, line.timestamp, 'STG')
      }
    } catch (error) {
      if (!signal.aborted) throw error
    }
  }

  /** The end of the container's output, long enough to find the reason in it. */
  get lines(): readonly string[] {
    return this.#tail
  }

  get lastLines(): readonly string[] {
    return this.#tail.slice(-LAST_LINES)
  }

  /** Milliseconds since the last line. */
  get quietMs(): number {
    return Date.now() - this.#lastAt
  }

  flush(timeoutMs: number): Promise<boolean> {
    return this.sender.flush(timeoutMs)
  }

  #send(text: string, stream: 'OUT' | 'ERR', at: bigint, sourceType: string): void {
    this.#last = at > this.#last ? at : this.#last + 1n
    this.#lastAt = Date.now()
    this.sender.send({
      kind: 'log',
      sourceId: this.appGuid,
      instanceId: '0',
      sourceType,
      stream,
      timestamp: this.#last.toString(),
      text,
    })
  }
}
