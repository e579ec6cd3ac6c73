import type { RouteEndpoint, RouteEntry } from '@bloomery/contracts'
import type { RawHeaders } from '../proxy/raw-headers.js'

export const STICKY_COOKIE = '__VCAP_ID__'
/** A client that is about to prove who it is in several steps has to take them all with one instance. */
const NEGOTIATE_SECONDS = 60

export interface StickyPolicy {
  /** Cookies by which an application shows that it keeps a session. */
  readonly sessionCookies: readonly string[]
  /** The router's own cookie is for TLS alone, whatever the application says of its own. */
  readonly alwaysSecure: boolean
  /** Whether `WWW-Authenticate: Negotiate` binds the client to the instance that said it. */
  readonly forNegotiate: boolean
}
export const STICKY_BY_DEFAULT: StickyPolicy = { sessionCookies: ['JSESSIONID'], alwaysSecure: false, forNegotiate: false }

/** The instance that a client is bound to; `must`: no other will do. */
export interface Wanted {
  readonly instanceGuid: string
  readonly must: boolean
}

/** By a session: only with both the application's session cookie and ours. By a negotiation: with its next step and our cookie. */
export function wantedInstance(headers: RawHeaders, policy: StickyPolicy): Wanted | undefined {
  const fields = headers.getAll('cookie')
  if (fields.length === 0) return undefined
  const cookies = parseCookies(fields)
  const instanceGuid = cookies.get(STICKY_COOKIE)
  if (!instanceGuid) return undefined
  if (policy.forNegotiate && /^negotiate/i.test(headers.get('authorization') ?? '')) return { instanceGuid, must: true }
  return policy.sessionCookies.some((name) => cookies.has(name)) ? { instanceGuid, must: false } : undefined
}

/**
 * The cookie to add to a response: when the application began (or ended) a session, asks for a negotiation where that binds, or when
 * another instance than the wanted one answered. Undefined otherwise, and when the application set that cookie itself.
 */
export function stickyCookie(facts: {
  readonly route: Pick<RouteEntry, 'path'>
  readonly endpoint: Pick<RouteEndpoint, 'instanceGuid'>
  readonly wanted: string | undefined
  readonly setCookies: readonly string[]
  /** The response's field. */
  readonly authenticate?: string | undefined
  readonly policy: StickyPolicy
}): string | undefined {
  const { route, endpoint, wanted, policy } = facts
  const set = facts.setCookies.map(parseSetCookie)
  if (endpoint.instanceGuid === '' || set.some(({ name }) => name === STICKY_COOKIE)) return undefined
  const session = set.find(({ name }) => policy.sessionCookies.includes(name))
  const negotiates = policy.forNegotiate && facts.authenticate?.toLowerCase() === 'negotiate'
  if (!session && !negotiates && (wanted === undefined || wanted === endpoint.instanceGuid)) return undefined
  const copied = (session?.attributes ?? []).filter(
    ({ name, value }) =>
      ['secure', 'samesite', 'expires', 'partitioned'].includes(name.toLowerCase()) ||
      // Only the end of a session is passed on.
      (name.toLowerCase() === 'max-age' && Number(value) < 0),
  )
  const isSecure = copied.some(({ name }) => name.toLowerCase() === 'secure')
  return [
    `${STICKY_COOKIE}=${endpoint.instanceGuid}`,
    `Path=${route.path || '/'}`,
    'HttpOnly',
    ...(policy.alwaysSecure && !isSecure ? ['Secure'] : []),
    ...(negotiates && !session ? [`Max-Age=${NEGOTIATE_SECONDS}`, 'SameSite=Strict'] : []),
    ...copied.map(({ name, value }) => (value === undefined ? name : `${name}=${value}`)),
  ].join('; ')
}

function parseCookies(fields: readonly string[]): Map<string, string> {
  const pairs = fields.flatMap((field) => field.split(';')).map((pair) => splitAt(pair, '='))
  return new Map(pairs.map(([name, value]) => [name, (value ?? '').replace(/^"(.*)"$/, '$1')]))
}

function parseSetCookie(field: string): { name: string; attributes: { name: string; value: string | undefined }[] } {
  const [first = '', ...rest] = field.split(';')
  return {
    name: splitAt(first, '=')[0],
    attributes: rest.map((part) => splitAt(part, '=')).map(([name, value]) => ({ name, value })),
  }
}

function splitAt(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator)
  return at === -1 ? [text.trim(), undefined] : [text.slice(0, at).trim(), text.slice(at + 1).trim()]
}
