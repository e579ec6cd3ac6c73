import type { RouteEndpoint, RouteEntry } from '@bloomery/contracts'
import type { RawHeaders } from '../proxy/raw-headers.js'

export const STICKY_COOKIE = '__VCAP_ID__'
/** Cookies by which an application shows that it keeps a session. */
const SESSION_COOKIES: readonly string[] = ['JSESSIONID']

/** The instance that the client's session is bound to: only with both the application's session cookie and ours. */
export function wantedInstance(headers: RawHeaders): string | undefined {
  const cookies = parseCookies(headers.getAll('cookie'))
  return SESSION_COOKIES.some((name) => cookies.has(name)) ? cookies.get(STICKY_COOKIE) || undefined : undefined
}

/**
 * The cookie to add to a response: when the application began (or ended) a session, or when another instance than the wanted one
 * answered. Undefined otherwise, and when the application set that cookie itself.
 */
export function stickyCookie(facts: {
  readonly route: Pick<RouteEntry, 'path'>
  readonly endpoint: Pick<RouteEndpoint, 'instanceGuid'>
  readonly wanted: string | undefined
  readonly setCookies: readonly string[]
}): string | undefined {
  const { route, endpoint, wanted } = facts
  const set = facts.setCookies.map(parseSetCookie)
  if (endpoint.instanceGuid === '' || set.some(({ name }) => name === STICKY_COOKIE)) return undefined
  const session = set.find(({ name }) => SESSION_COOKIES.includes(name))
  if (!session && (wanted === undefined || wanted === endpoint.instanceGuid)) return undefined
  const copied = (session?.attributes ?? []).filter(
    ({ name, value }) =>
      ['secure', 'samesite', 'expires', 'partitioned'].includes(name.toLowerCase()) ||
      // Only the end of a session is passed on.
      (name.toLowerCase() === 'max-age' && Number(value) < 0),
  )
  return [
    `${STICKY_COOKIE}=${endpoint.instanceGuid}`,
    `Path=${route.path || '/'}`,
    'HttpOnly',
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
