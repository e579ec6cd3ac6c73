import { tokensOf, type RawHeaders } from './raw-headers.js'

const HOP_BY_HOP = [
  'connection',
  'proxy-connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'transfer-encoding',
  'upgrade',
]

/** Fields that a sender cannot have us drop by naming them in `Connection`: endpoints and logs rely on them. */
const PROTECTED = new Set([
  'host',
  'content-length',
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
  'x-vcap-request-id',
  'cookie',
  'authorization',
])

/** Removes what concerns one connection only, and what `Connection` names. */
export function removeHopByHop(headers: RawHeaders, options: { readonly keepTrailer: boolean }): void {
  const named = tokensOf(headers, 'connection').filter((name) => !PROTECTED.has(name))
  headers.remove(...HOP_BY_HOP, ...(options.keepTrailer ? [] : ['trailer']), ...named.filter((name) => name !== 'trailer'))
}
