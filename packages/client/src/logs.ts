import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import type { CloudClient } from './cloud-client.js'

/** One line of an app's log. */
export interface LogEntry {
  /** Nanoseconds since the epoch. */
  readonly timestamp: bigint
  readonly instanceId: string
  /** APP/PROC/WEB, STG, RTR, … */
  readonly sourceType: string
  readonly stream: 'OUT' | 'ERR'
  readonly text: string
}

const Envelope = z.object({
  timestamp: z.string(),
  instance_id: z.string().default(''),
  tags: z.record(z.string(), z.string()).default({}),
  log: z.object({ payload: z.string(), type: z.enum(['OUT', 'ERR']).default('OUT') }).optional(),
})
const Read = z.object({ envelopes: z.object({ batch: z.array(Envelope).default([]) }).optional() })

const PAUSE_MS = 250
const MAX_FAILURES = 5
const FROM_THE_BEGINNING = '-6795364578871345152'
const RECENT = 1_000

/** The newest lines, oldest first. */
export async function recentLogs(client: CloudClient, appGuid: string, limit = RECENT): Promise<LogEntry[]> {
  const query = { start_time: FROM_THE_BEGINNING, envelope_types: 'LOG', limit, descending: 'true' }
  return (await read(client, appGuid, query)).reverse()
}

/** The time of the newest line, or 0: where a tail begins that shall show only what comes. */
export async function newestLogTime(client: CloudClient, appGuid: string): Promise<bigint> {
  const [newest] = await read(client, appGuid, { start_time: FROM_THE_BEGINNING, limit: 1, descending: 'true' })
  return newest?.timestamp ?? 0n
}

export interface TailOptions {
  /** Lines from this time on; default: those that come. */
  readonly from?: bigint
  /** Ends the tail. */
  readonly signal: AbortSignal
  /** Told of failures that are tried again. */
  readonly onFailure?: (error: unknown) => void
}

/** Follows an app's log until the signal. The store's timestamps rise per app, so that continuing after the last one misses nothing. */
export async function* tailLogs(
  client: CloudClient,
  appGuid: string,
  { from, signal, onFailure }: TailOptions,
): AsyncGenerator<LogEntry> {
  let next = from ?? (await newestLogTime(client, appGuid)) + 1n
  let failures = 0
  while (!signal.aborted) {
    let batch: LogEntry[] = []
    try {
      batch = await read(client, appGuid, { start_time: next.toString(), envelope_types: 'LOG', limit: RECENT }, signal)
      failures = 0
    } catch (error) {
      if (signal.aborted) return
      failures++
      if (failures >= MAX_FAILURES) throw error
      onFailure?.(error)
    }
    for (const entry of batch) {
      yield entry
      next = entry.timestamp + 1n
    }
    if (batch.length === 0) await delay(PAUSE_MS, undefined, { signal }).catch(() => undefined)
  }
}

async function read(
  client: CloudClient,
  appGuid: string,
  query: Record<string, string | number>,
  signal?: AbortSignal,
): Promise<LogEntry[]> {
  const path = `${client.endpoints.logCache}/api/v1/read/${appGuid}`
  const { envelopes } = Read.parse(await client.get(path, { query, ...(signal ? { signal } : {}) }))
  return (envelopes?.batch ?? []).flatMap(({ timestamp, instance_id, tags, log }) =>
    log
      ? [
          {
            timestamp: BigInt(timestamp),
            instanceId: instance_id,
            sourceType: tags['source_type'] ?? '',
            stream: log.type,
            text: Buffer.from(log.payload, 'base64').toString(),
          },
        ]
      : [],
  )
}
