import { CfError, InstanceMetrics } from '@bloomery/contracts'
import type { Dispatcher } from 'undici'
import { z } from 'zod'
import { dialRole, type IdentitySource } from './mutual-tls.js'

/** log-cache's read parameters, as the client sent them. */
export interface LogReadQuery {
  /** int64 nanoseconds, decimal, possibly negative. */
  readonly start_time?: string
  readonly end_time?: string
  /** 1 to 1000; the store's default is 100. */
  readonly limit?: string
  readonly descending?: string
  readonly envelope_types?: string | readonly string[]
  /** Milliseconds that a read which finds nothing waits for a line; ours, beside log-cache's. */
  readonly wait_ms?: string
}

/** An envelope exactly as log-cache's clients decode it; pass it on unchanged. */
export const LogCacheEnvelope = z.strictObject({
  timestamp: z.string(),
  source_id: z.string(),
  instance_id: z.string(),
  deprecated_tags: z.record(z.string(), z.never()),
  tags: z.record(z.string(), z.string()),
  log: z.strictObject({ payload: z.string(), type: z.enum(['OUT', 'ERR']) }),
})
export type LogCacheEnvelope = z.infer<typeof LogCacheEnvelope>
export const LogCacheRead = z.strictObject({ envelopes: z.strictObject({ batch: z.array(LogCacheEnvelope) }) })
export type LogCacheRead = z.infer<typeof LogCacheRead>
export const LogCacheMeta = z.record(
  z.string(),
  z.strictObject({ count: z.string(), expired: z.string(), oldest_timestamp: z.string(), newest_timestamp: z.string() }),
)
export type LogCacheMeta = z.infer<typeof LogCacheMeta>
const MetaAnswer = z.object({ meta: LogCacheMeta })

/**
 * The log store as the api reads it. Rejects with CfError: ServiceUnavailable while the store is out of reach, BadQueryParameter
 * for a query that it does not take. Whoever can do without logs or metrics catches the former.
 */
export interface LogReader {
  read(sourceId: string, query: LogReadQuery, signal?: AbortSignal): Promise<LogCacheRead>
  /** Of the sources given, or of all, those that have lines. */
  meta(sourceIds?: readonly string[]): Promise<LogCacheMeta>
  /** The newest measurement of each process and index. */
  metrics(sourceId: string): Promise<InstanceMetrics[]>
  /** Removes lines and metrics of an app that is gone. */
  forget(sourceId: string): Promise<void>
  close(): Promise<void>
}

/** Reads that wait have connections of their own, so that many who follow a log hold up nobody else. */
const CONNECTIONS = { quick: 16, waiting: 256 } as const

export function createLogReader(options: { readonly logsUrl: string; readonly identity: IdentitySource }): LogReader {
  const dispatchers: { quick?: Dispatcher; waiting?: Dispatcher } = {}
  const once = async (kind: keyof typeof CONNECTIONS, method: 'GET' | 'DELETE', path: string, signal?: AbortSignal) => {
    const dispatcher = (dispatchers[kind] ??= dialRole('logs', options.identity, { connections: CONNECTIONS[kind] }))
    const answer = await dispatcher.request({ origin: options.logsUrl, method, path, ...(signal ? { signal } : {}) })
    return { status: answer.statusCode, text: await answer.body.text() }
  }
  const ask = async (method: 'GET' | 'DELETE', path: string, waits = false, signal?: AbortSignal): Promise<unknown> => {
    const kind = waits ? 'waiting' : 'quick'
    const { status, text } = await once(kind, method, path, signal)
      .catch((error: unknown) => {
        if (signal?.aborted) throw error
        // The store may have been restarted since: once more on a new connection, with the certificate of this moment.
        void dispatchers[kind]?.close()
        delete dispatchers[kind]
        return once(kind, method, path, signal)
      })
      .catch((error: unknown) => {
        throw new CfError('ServiceUnavailable', 'The log store cannot be reached at the moment; try again.', { cause: error })
      })
    if (status === 400) throw new CfError('BadQueryParameter', z.object({ error: z.string() }).parse(JSON.parse(text)).error)
    if (status >= 300) throw new CfError('ServiceUnavailable', `The log store answered ${status}; try again.`)
    return text === '' ? undefined : JSON.parse(text)
  }
  return {
    // The store is the platform's own and renders strictly; checking each of a thousand lines again would cost more than reading them.
    read: async (sourceId, query, signal) => {
      const path = `/v1/read/${encodeURIComponent(sourceId)}${searchOf(query)}`
      return (await ask('GET', path, query.wait_ms !== undefined, signal)) as LogCacheRead
    },
    meta: async (sourceIds) => {
      if (!sourceIds) return MetaAnswer.parse(await ask('GET', '/v1/meta')).meta
      const all: LogCacheMeta = {}
      // In portions, for they stand in the address.
      for (let i = 0; i < sourceIds.length; i += 100) {
        const search = sourceIds.slice(i, i + 100).map((id) => `source_id=${encodeURIComponent(id)}`)
        Object.assign(all, MetaAnswer.parse(await ask('GET', `/v1/meta?${search.join('&')}`)).meta)
      }
      return all
    },
    metrics: async (sourceId) => z.array(InstanceMetrics).parse(await ask('GET', `/v1/metrics/${encodeURIComponent(sourceId)}`)),
    forget: async (sourceId) => {
      await ask('DELETE', `/v1/sources/${encodeURIComponent(sourceId)}`)
    },
    close: async () => {
      await Promise.all([dispatchers.quick?.close(), dispatchers.waiting?.close()])
    },
  }
}

function searchOf(query: LogReadQuery): string {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query) as [string, string | readonly string[] | undefined][]) {
    for (const each of typeof value === 'string' ? [value] : (value ?? [])) search.append(name, each)
  }
  return search.size > 0 ? `?${search.toString()}` : ''
}
