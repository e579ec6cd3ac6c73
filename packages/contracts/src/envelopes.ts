import { z } from 'zod'

/**
 * Log store protocol, over mutual TLS on the log store's internal listener.
 *
 *   POST /v1/ingest      IngestBatch → 204 after the batch is appended; a (sender, sequence) seen before is acknowledged and not appended again.
 *                        Who may send what: `cell`, `stager`, `router`, `api`, `scheduler`, `logs` certificates.
 *   GET  /v1/read/:sourceId?start_time&end_time&limit&descending&envelope_types&wait_ms  → {"envelopes":{"batch":[LogCacheEnvelope…]}}
 *                        With wait_ms, a read that finds nothing is answered when a line comes, at the latest after that time.
 *   GET  /v1/meta        → log-cache's meta
 *   GET  /v1/metrics/:sourceId   → InstanceMetrics[] (the newest per process and index)
 *   DELETE /v1/sources/:sourceId → forgets an app
 */
export const LogLine = z.object({
  kind: z.literal('log'),
  /** The app's guid. */
  sourceId: z.string(),
  /** Index of the instance, or 0. */
  instanceId: z.string(),
  /** APP/PROC/WEB, STG, API, CELL, RTR, HEALTH, … as the client prints it. */
  sourceType: z.string(),
  stream: z.enum(['OUT', 'ERR']),
  /** Nanoseconds since the epoch, decimal. Unique and rising per sender and source. */
  timestamp: z.string(),
  /** One line without its newline, UTF-8; at most 60 KiB. */
  text: z.string(),
  tags: z.record(z.string(), z.string()).optional(),
})
export type LogLine = z.infer<typeof LogLine>

export const InstanceMetrics = z.object({
  kind: z.literal('metrics'),
  sourceId: z.string(),
  processGuid: z.string(),
  processType: z.string(),
  instanceId: z.string(),
  instanceGuid: z.string(),
  timestamp: z.string(),
  /** Share of one core, 1 = 100 %. */
  cpu: z.number(),
  /** Share of what the instance is entitled to. */
  cpuEntitlement: z.number(),
  memoryBytes: z.number(),
  memoryQuotaBytes: z.number(),
  diskBytes: z.number(),
  diskQuotaBytes: z.number(),
  logRateBytes: z.number(),
  logRateLimitBytes: z.number(),
})
export type InstanceMetrics = z.infer<typeof InstanceMetrics>

export const Envelope = z.discriminatedUnion('kind', [LogLine, InstanceMetrics])
export type Envelope = z.infer<typeof Envelope>

export const IngestBatch = z.object({
  /** Stable over restarts of the sender's process while it has a spool, e.g. "cell:c1". */
  sender: z.string(),
  /** Rises by one per batch of that sender; kept in the spool, so that a repeated batch is recognised. */
  sequence: z.number().int(),
  envelopes: z.array(Envelope),
})
export type IngestBatch = z.infer<typeof IngestBatch>
