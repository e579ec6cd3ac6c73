import { readFraming } from './framing.js'
import { tokensOf, type RawHeaders } from './raw-headers.js'

/**
 * The protocol that a request may switch to, by its fields; undefined when it asks for none or must not. Never another form of
 * HTTP: its requests would pass the router unseen. Only without a body, which some endpoints would read as the new protocol's
 * first bytes.
 */
export function upgradeProtocol(head: {
  readonly method: string
  readonly httpVersion: string
  readonly headers: RawHeaders
}): string | undefined {
  const { headers, method, httpVersion } = head
  if (!headers.has('upgrade') || method !== 'GET' || httpVersion !== '1.1') return undefined
  const [protocol = '', ...more] = headers.getAll('upgrade')
  if (more.length > 0 || !PROTOCOL.test(protocol) || FORMS_OF_HTTP.test(protocol)) return undefined
  if (!tokensOf(headers, 'connection').includes('upgrade') || readFraming(headers, httpVersion).kind !== 'none') return undefined
  return protocol
}

const PROTOCOL = /^[!#$%&'*+.^_`|~\w-]+(\/[\w.]+)?$/
const FORMS_OF_HTTP = /^(h2c?|h3|http|tls|connect-\w+)\b/i
