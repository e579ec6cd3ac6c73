import { randomBytes } from 'node:crypto'
import type { Step } from '../proxy/disposition.js'

export const TRACINGS = ['none', 'b3', 'w3c', 'both'] as const
export type Tracing = (typeof TRACINGS)[number]

/** version-trace-parent-flags; further fields of later versions are nobody's business here. */
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:$|-)/

/**
 * Headers by which a request can be followed from one program to the next. B3: kept where the client has sent them. W3C: the same trace,
 * this router as parent, its tenant first. The request's id is that of a trace where one begins or is known.
 */
export const tracing = (kind: Tracing, tenant: string): Step | undefined => {
  if (kind === 'none') return undefined
  const [b3, w3c] = [kind !== 'w3c', kind !== 'b3']
  return (exchange) => {
    const { headers } = exchange
    const given = TRACEPARENT.exec(headers.get('traceparent') ?? '')
    const traceId = (w3c ? given?.[1] : undefined) ?? headers.get('x-b3-traceid') ?? newId(16)
    const spanId = newId(8)
    if (b3 && !headers.has('x-b3-traceid')) {
      const b3Trace = traceId.padStart(32, '0')
      if (!headers.has('b3')) headers.set('b3', `${b3Trace}-${spanId}`)
      headers.set('X-B3-TraceId', b3Trace)
      headers.set('X-B3-SpanId', spanId)
    }
    if (w3c) {
      const trace = /^[0-9a-f]{32}$/.test(traceId) ? traceId : traceId.padStart(32, '0').slice(-32)
      headers.set('traceparent', `00-${trace}-${spanId}-${given?.[3] ?? '01'}`)
      const others = (given ? (headers.get('tracestate') ?? '') : '')
        .split(',')
        .map((member) => member.trim())
        .filter((member) => member !== '' && !member.startsWith(`${tenant}=`))
      headers.set('tracestate', [`${tenant}=${spanId}`, ...others].slice(0, 32).join(','))
    }
    exchange.requestId = idOf(traceId) ?? exchange.requestId
    return undefined
  }
}

const newId = (bytes: number): string => randomBytes(bytes).toString('hex')

/** 32 hex digits as a UUID. */
function idOf(traceId: string): string | undefined {
  const match = /^([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})$/.exec(traceId)
  return match?.slice(1).join('-')
}
