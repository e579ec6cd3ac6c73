import { setTimeout as delay } from 'node:timers/promises'
import * as z from 'zod/mini'
import type { CloudClient } from './cloud-client.js'
import { ApiError, ClientError } from './errors.js'

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
  instance_id: z._default(z.string(), ''),
  tags: z._default(z.record(z.string(), z.string()), {}),
  log: z.optional(z.object({ payload: z._default(z.string(), ''), type: z._default(z.enum(['OUT', 'ERR']), 'OUT') })),
})
const Read = z.object({ envelopes: z.optional(z.object({ batch: z._default(z.array(Envelope), []) })) })

/** Between reads of a server that does not hold an empty answer back. */
const PAUSE_MS = 100
const PAUSE_AFTER_FAILURE_MS = 250
const LONGEST_PAUSE_MS = 5_000
/** How long a log that cannot be read is tried again before the tail gives up. */
const PATIENCE_MS = 60_000
/** An empty answer that took so long was held back until a line might have come. */
const HELD_MS = 200
const FROM_THE_BEGINNING = '-6795364578871345152'
const RECENT = 1_000

/** The newest lines, oldest first. */
export async function recentLogs(client: CloudClient, appGuid: string, limit = RECENT): Promise<LogEntry[]> {
  const query = { start_time: FROM_THE_BEGINNING, envelope_types: 'LOG', limit, descending: 'true' }
  return (await read(client, appGuid, query)).reverse()
}

/** The time of the newest line, or 0: where a tail begins that shall show only what comes. */
export async function newestLogTime(client: CloudClient, appGuid: string, signal?: AbortSignal): Promise<bigint> {
  const [newest] = await read(client, appGuid, { start_time: FROM_THE_BEGINNING, limit: 1, descending: 'true' }, signal)
  return newest?.timestamp ?? 0n
}

export interface TailOptions {
  /** Lines from this time on; default: those that come. */
  readonly from?: bigint
  /** Ends the tail. */
  readonly signal: AbortSignal
  /** How long a log that cannot be read is tried again; default a minute. */
  readonly patienceMs?: number
  /** Told of the first of failures that are tried again. */
  readonly onFailure?: (error: unknown) => void
}

/**
 * Follows an app's log until the signal; a server that can holds each read until a line comes. The store's timestamps rise per app,
 * whoever sent the lines, so that continuing after the last one repeats nothing and misses nothing, also over a reconnection.
 */
export async function* tailLogs(client: CloudClient, appGuid: string, options: TailOptions): AsyncGenerator<LogEntry> {
  const { signal, onFailure, patienceMs = PATIENCE_MS } = options
  let next = options.from
  let failingSince: number | undefined
  let failures = 0
  while (!signal.aborted) {
    const asked = Date.now()
    let batch: LogEntry[] = []
    try {
      next ??= (await newestLogTime(client, appGuid, signal)) + 1n
      batch = await read(client, appGuid, { start_time: next.toString(), envelope_types: 'LOG', limit: RECENT }, signal, true)
      failingSince = undefined
      failures = 0
    } catch (error) {
      if (signal.aborted) return
      failingSince ??= asked
      if (isFinal(error) || Date.now() - failingSince >= patienceMs) throw error
      if (failures === 0) onFailure?.(error)
      failures++
    }
    for (const entry of batch) {
      // A server that answers with what was not asked for must not make lines appear twice.
      if (next !== undefined && entry.timestamp < next) continue
      next = entry.timestamp + 1n
      yield entry
    }
    if (batch.length > 0) continue
    const held = failures === 0 && Date.now() - asked >= HELD_MS
    const pause = failures === 0 ? PAUSE_MS : Math.min(PAUSE_AFTER_FAILURE_MS * 2 ** (failures - 1), LONGEST_PAUSE_MS)
    if (!held) await delay(pause, undefined, { signal }).catch(() => undefined)
  }
}

/** The app is gone, or not ours to read; asking again changes nothing. */
const isFinal = (error: unknown): boolean =>
  (error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 429) ||
  (error instanceof ClientError && error.kind === 'not-logged-in')

async function read(
  client: CloudClient,
  appGuid: string,
  query: Record<string, string | number>,
  signal?: AbortSignal,
  waiting = false,
): Promise<LogEntry[]> {
  const path = `${client.endpoints.logCache}/api/v1/read/${appGuid}`
  const headers = waiting ? { headers: { prefer: 'wait=5' } } : {}
  const { envelopes } = Read.parse(await client.get(path, { query, ...headers, ...(signal ? { signal } : {}) }))
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
