import type { LogQuery } from '../segments/log-store.js'
import { RequestError } from './read-body.js'

/** log-cache's own values. */
const DEFAULT_LIMIT = 100
const MAX_LIMIT = 1_000
const MAX_TIME = 2n ** 63n - 1n
/** How long a read may wait for a first line. */
const MAX_WAIT_MS = 10_000n
const TYPES = ['ANY', 'LOG', 'COUNTER', 'GAUGE', 'TIMER', 'EVENT']

/** Milliseconds that a read which finds nothing waits for a line; ours, beside log-cache's. 0 when not asked for. */
export function parseWait(query: URLSearchParams): number {
  const wait = integer(query, 'wait_ms') ?? 0n
  return wait < 0n ? 0 : Number(wait > MAX_WAIT_MS ? MAX_WAIT_MS : wait)
}

/** A read's query as log-cache takes it; undefined when it asks for kinds of envelope of which there are none. */
export function parseLogQuery(query: URLSearchParams): LogQuery | undefined {
  const limit = integer(query, 'limit') ?? BigInt(DEFAULT_LIMIT)
  if (limit < 1n || limit > MAX_LIMIT) throw new RequestError(400, `limit must be between 1 and ${MAX_LIMIT}`)
  // Clients begin at Go's zero time, which is negative and below what a double holds exactly.
  const start = integer(query, 'start_time') ?? 0n
  const end = integer(query, 'end_time') ?? MAX_TIME
  const types = query.getAll('envelope_types').flatMap((value) => value.toUpperCase().split(','))
  const unknown = types.find((type) => !TYPES.includes(type))
  if (unknown !== undefined)
    throw new RequestError(400, `unknown envelope type ${JSON.stringify(unknown)}; known are ${TYPES.join(', ')}`)
  if (types.length > 0 && !types.includes('LOG') && !types.includes('ANY')) return undefined
  return { start, end, limit: Number(limit), descending: query.get('descending') === 'true' }
}

function integer(query: URLSearchParams, name: string): bigint | undefined {
  const text = query.get(name)
  if (text === null || text === '') return undefined
  if (!/^[+-]?\d{1,19}$/.test(text)) throw new RequestError(400, `${name} must be an integer`)
  return BigInt(text)
}
