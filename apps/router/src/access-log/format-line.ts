/** What an access line tells; absent values are written as "-". */
export interface AccessRecord {
  readonly host: string
  /** Milliseconds since the epoch, with fractions. */
  readonly receivedAt: number
  readonly finishedAt: number
  readonly backendMs: number
  readonly method: string
  readonly target: string
  readonly protocol: string
  readonly status: number | undefined
  readonly requestBytes: number
  readonly responseBytes: number
  readonly referer: string | undefined
  readonly userAgent: string | undefined
  readonly client: { readonly address: string; readonly port: number }
  readonly backend: string | undefined
  readonly forwardedFor: string | undefined
  readonly forwardedProto: string | undefined
  readonly requestId: string
  /** Who served it, by {@link formatServed}. */
  readonly served: string
  readonly routerError: string | undefined
}

/** The part of a line that is the same for all requests that one instance serves. */
export const formatServed = (by: {
  readonly appGuid: string | undefined
  readonly index: number | undefined
  readonly instanceGuid: string | undefined
}): string =>
  `app_id:${quoted(by.appGuid)} app_index:${by.index === undefined ? '"-"' : `"${by.index}"`} instance_id:${quoted(by.instanceGuid)}`

/** The log store takes lines of at most 60 KiB. */
const MAX_LINE_BYTES = 60 * 1024

/** One line as Cloud Foundry's router writes it. Strings are quoted with escapes, so that no request can write a line of its own. */
export function formatAccessLine(record: AccessRecord): string {
  const totalMs = record.finishedAt - record.receivedAt
  const line =
    `${bare(record.host)} - [${timestamp(record.receivedAt)}] "${escaped(record.method)} ${escaped(record.target)} ${record.protocol}" ` +
    `${record.status ?? '"-"'} ${record.requestBytes} ${record.responseBytes} ` +
    `${quoted(record.referer)} ${quoted(record.userAgent)} "${escaped(record.client.address)}:${record.client.port}" ${quoted(record.backend)} ` +
    `x_forwarded_for:${quoted(record.forwardedFor)} x_forwarded_proto:${quoted(record.forwardedProto)} ` +
    `vcap_request_id:${quoted(record.requestId)} response_time:${seconds(totalMs)} ` +
    `gorouter_time:${seconds(Math.max(totalMs - record.backendMs, 0))} ${record.served} ` +
    `x_cf_routererror:${quoted(record.routerError)}`
  return line.length * 3 <= MAX_LINE_BYTES || Buffer.byteLength(line) <= MAX_LINE_BYTES
    ? line
    : Buffer.from(line)
        .subarray(0, MAX_LINE_BYTES)
        .toString('utf8')
        .replace(/\uFFFD+$/, '')
}

/** With six decimals. */
function seconds(ms: number): string {
  const micros = Math.round(ms * 1000)
  const rest = String(micros % 1_000_000)
  return `${Math.floor(micros / 1_000_000)}.${ZEROS.slice(rest.length)}${rest}`
}

const ZEROS = '000000'

/** The second of the line before, which most often is that of the next. */
let second = { at: -1, text: '' }

function timestamp(ms: number): string {
  const at = Math.floor(ms / 1000)
  if (at !== second.at) second = { at, text: new Date(at * 1000).toISOString().slice(0, -'000Z'.length) }
  const micros = String(Math.floor((ms - at * 1000) * 1000))
  return `${second.text}${ZEROS.slice(micros.length)}${micros}000Z`
}

const bare = (text: string): string => (text === '' ? '-' : escaped(text))

const quoted = (text: string | undefined): string => (text === undefined || text === '' ? '"-"' : `"${escaped(text)}"`)

const NEEDS_ESCAPE = /[^\x20-\x21\x23-\x5b\x5d-\x7e]/
const ESCAPES: Readonly<Record<string, string>> = { '"': '\\"', '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' }

function escaped(text: string): string {
  if (!NEEDS_ESCAPE.test(text)) return text
  return text.replace(
    /["\\\p{Cc}\p{Zl}\p{Zp}]/gu,
    (char) => ESCAPES[char] ?? `\\u${(char.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`,
  )
}
