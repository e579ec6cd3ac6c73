import type { Envelope } from '@bloomery/contracts'

/**
 * Sends envelopes to the log store in batches. Never blocks and never throws: what cannot be sent yet waits in a bounded spool on disk
 * (or in memory without a folder); what overflows is counted, and the count is written into the app's log as a line of source LGR.
 */
export interface LogSender {
  send(envelope: Envelope): void
  /** Resolves once all that was sent before is acknowledged, or after the timeout. */
  flush(timeoutMs: number): Promise<boolean>
  close(): Promise<void>
}
