import type { Envelope } from '@bloomery/contracts'

/**
 * Sends envelopes to the log store in batches. Never blocks and never throws: what cannot be sent yet waits in a bounded spool on disk
 * (or in memory without a folder); what overflows is counted, and the count is written into the app's log as a line of source LGR.
 */
export interface LogSender {
  /** With a cursor, the envelope and the position reached in its input become durable together; see SpoolingLogSender.cursorOf. */
  send(envelope: Envelope, cursor?: LogCursor): void
  /** Resolves once all that was sent before is acknowledged, or after the timeout. */
  flush(timeoutMs: number): Promise<boolean>
  close(): Promise<void>
}

/** How far an input (say, an instance's output file) was taken: whoever sends resumes from there after a crash, and sends no line twice. */
export interface LogCursor {
  readonly key: string
  readonly position: string
}
