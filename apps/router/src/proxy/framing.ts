import type { RawHeaders } from './raw-headers.js'

export type FramingFound =
  | { readonly kind: 'none' }
  | { readonly kind: 'sized'; readonly bytes: number }
  | { readonly kind: 'chunked' }
  | { readonly kind: 'refused'; readonly why: string }

const NONE: FramingFound = { kind: 'none' }
const CHUNKED: FramingFound = { kind: 'chunked' }
const refused = (why: string): FramingFound => ({ kind: 'refused', why })
/** Fifteen digits are exact in a number, and more than any body has. */
const LENGTH = /^\d{1,15}$/

/** How a message's body is delimited by its fields. Whatever two readers might read differently is refused. */
export function readFraming(headers: RawHeaders, httpVersion: string): FramingFound {
  const length = headers.get('content-length')
  const coding = headers.get('transfer-encoding')
  if (coding !== undefined) {
    if (length !== undefined) return refused('Content-Length and Transfer-Encoding')
    if (httpVersion !== '1.1') return refused('Transfer-Encoding in an HTTP/1.0 message')
    if (headers.count('transfer-encoding') > 1 || coding.trim().toLowerCase() !== 'chunked')
      return refused('Unsupported Transfer-Encoding')
    return CHUNKED
  }
  if (length === undefined) return NONE
  if (headers.count('content-length') > 1) return refused('More than one Content-Length')
  if (!LENGTH.test(length)) return refused('Malformed Content-Length')
  return length === '0' ? NONE : { kind: 'sized', bytes: Number(length) }
}
