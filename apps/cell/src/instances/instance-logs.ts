import { setTimeout as delay } from 'node:timers/promises'
import type { LogLine } from '@bloomery/contracts'
import { type ContainerEngine, EngineError } from '@bloomery/containers'
import type { SpoolingLogSender } from '@bloomery/feeds'
import type { Logger } from '@bloomery/telemetry'
import type { InstanceRecord } from './instance-record.js'

const RETRY_MS = 500

/** The lines of one instance: what its program prints, and what the cell and the health checks have to say about it. */
export class InstanceLogs {
  /** Bytes of output that were sent on, for the log rate. */
  sentBytes = 0
  private readonly stop = new AbortController()
  private reading: Promise<void> = Promise.resolve()

  constructor(
    private readonly record: InstanceRecord,
    private readonly sender: SpoolingLogSender,
    private readonly log: Logger,
  ) {}

  say(sourceType: string, text: string, stream: 'OUT' | 'ERR' = 'OUT'): void {
    this.sender.send(this.line(sourceType, text, stream, this.sender.nextTimestamp()))
  }

  /** The process's own source, e.g. APP/PROC/WEB. */
  get processSource(): string {
    return `APP/PROC/${this.record.spec.processType.toUpperCase()}`
  }

  /** Follows the container's output from where an earlier agent left off. */
  follow(engine: ContainerEngine): void {
    this.reading = this.read(engine).catch((error: unknown) => {
      if (!this.stop.signal.aborted)
        this.log.error({ err: error, instanceGuid: this.record.instanceGuid }, 'the output of an instance cannot be read')
    })
  }

  /** Resolves when the output of an ended container has been sent on, or after the time. */
  async drained(timeoutMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    await Promise.race([this.reading, new Promise<void>((resolve) => (timer = setTimeout(resolve, timeoutMs)))])
    clearTimeout(timer)
  }

  /** Leaves the rest for the next agent. */
  async pause(): Promise<void> {
    this.stop.abort()
    await this.reading
  }

  /** There is no container any more. */
  async end(): Promise<void> {
    await this.pause()
    this.sender.forgetCursor(this.record.instanceGuid)
  }

  /** To the end of the output, over absences of the engine. */
  private async read(engine: ContainerEngine): Promise<void> {
    const key = this.record.instanceGuid
    const source = this.processSource
    const { signal } = this.stop
    for (let after = this.sender.cursorOf(key); ; await delay(RETRY_MS, undefined, { signal }))
      try {
        for await (const line of engine.output(key, { signal, ...(after === undefined ? {} : { after }) })) {
          after = line.cursor
          this.sentBytes += line.text.length
          this.sender.send(this.line(source, line.text, line.stream, String(line.timestamp)), { key, position: line.cursor })
        }
        return
      } catch (error) {
        if (!(error instanceof EngineError && error.kind === 'unavailable')) throw error
      }
  }

  private line(sourceType: string, text: string, stream: 'OUT' | 'ERR', timestamp: string): LogLine {
    const { spec, index, instanceGuid } = this.record
    return {
      kind: 'log',
      sourceId: spec.appGuid,
      instanceId: String(index),
      sourceType,
      stream,
      timestamp,
      text,
      tags: {
        process_id: spec.processGuid,
        process_type: spec.processType,
        process_instance_id: instanceGuid,
      },
    }
  }
}
