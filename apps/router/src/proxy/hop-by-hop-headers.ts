import { tokensOf, type RawHeaders } from './raw-headers.js'

const HOP_BY_HOP = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'transfer-encoding',
  'upgrade',
])

/** Fields that a sender cannot have us drop by naming them in `Connection`: endpoints and logs rely on them. */
const PROTECTED = new Set([
  'host',
  'content-length',
  'content-type',
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
  'x-forwarded-client-cert',
  'x-request-start',
  'x-vcap-request-id',
  'cookie',
  'set-cookie',
  'authorization',
  'trailer',
])

/** Removes what concerns one connection only, and what `Connection` names. */
export function removeHopByHop(headers: RawHeaders, options: { readonly keepTrailer: boolean }): void {
  const connection = headers.get('connection')
  const named =
    connection === undefined || connection === 'keep-alive' || connection === 'close'
      ? NONE
      : new Set(tokensOf(headers, 'connection').filter((name) => !PROTECTED.has(name)))
  headers.removeWhere((name) => HOP_BY_HOP.has(name) || named.has(name) || (!options.keepTrailer && name === 'trailer'))
}

const NONE: ReadonlySet<string> = new Set()
