/** One request as a strict reader of RFC 9112 reads it. */
export interface ReadRequest {
  readonly method: string
  readonly target: string
  readonly host: string
  /** Latin-1. */
  readonly body: string
  /** Last member of X-Forwarded-For. */
  readonly from: string
}

/** What a strict reader makes of a connection's bytes: requests up to where it would refuse or wants more. */
export interface StrictReading {
  readonly requests: readonly ReadRequest[]
  readonly end: 'complete' | 'incomplete' | 'refused'
}

const REQUEST_LINE = /^([A-Z][A-Z-]*) ([\x21-\x7e]+) HTTP\/1\.([01])$/
const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*)$/s
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/
const CHUNK = /^([0-9a-fA-F]{1,15})((?:;[\t\x20-\x7e\x80-\xff]*)?)$/

class Refused extends Error {}
class Incomplete extends Error {}

/**
 * The independent oracle: written from the RFC with expressions on the whole text, sharing nothing with the router. It takes no
 * more than the router may take, so whatever reaches an endpoint must be among what it reads, in the same order.
 */
export function readStrictly(bytes: Buffer): StrictReading {
  const text = bytes.toString('latin1')
  const requests: ReadRequest[] = []
  let at = 0
  const line = (): string => {
    const end = text.indexOf('\n', at)
    const found = text.slice(at, end === -1 ? undefined : end)
    if (end === -1) throw new Incomplete()
    if (!found.endsWith('\r') || found.slice(0, -1).includes('\r')) throw new Refused()
    at = end + 1
    return found.slice(0, -1)
  }
  const fields = (): [string, string][] => {
    const found: [string, string][] = []
    for (let next = line(); next !== ''; next = line()) {
      const match = FIELD.exec(next)
      if (!match || !VALUE.test(match[2] ?? '')) throw new Refused()
      found.push([(match[1] ?? '').toLowerCase(), (match[2] ?? '').trim()])
    }
    return found
  }
  const take = (length: number): string => {
    if (at + length > text.length) throw new Incomplete()
    at += length
    return text.slice(at - length, at)
  }
  const chunks = (): string => {
    let body = ''
    for (;;) {
      const match = CHUNK.exec(line())
      if (!match) throw new Refused()
      const size = parseInt(match[1] ?? '', 16)
      if (size === 0) break
      body += take(size)
      if (take(2) !== '\r\n') throw new Refused()
    }
    fields()
    return body
  }
  try {
    for (;;) {
      while (text.startsWith('\r\n', at)) at += 2
      if (at >= text.length) return { requests, end: 'complete' }
      const match = REQUEST_LINE.exec(line())
      if (!match) throw new Refused()
      const [, method = '', rawTarget = '', minor = ''] = match
      const head = fields()
      const all = (name: string): string[] => head.filter(([each]) => each === name).map(([, value]) => value)
      const hosts = all('host')
      if (hosts.length > 1 || method === 'CONNECT') throw new Refused()
      const { target, host } = settle(rawTarget, hosts[0])
      if (host === '' || (target !== '*' && !target.startsWith('/'))) throw new Refused()
      const [lengths, codings] = [all('content-length'), all('transfer-encoding')]
      if (lengths.length + codings.length > 1) throw new Refused()
      let body = ''
      if (codings.length === 1) {
        if (minor !== '1' || codings[0]?.toLowerCase() !== 'chunked') throw new Refused()
        body = chunks()
      } else if (lengths[0] !== undefined) {
        if (!/^\d{1,15}$/.test(lengths[0])) throw new Refused()
        body = take(Number(lengths[0]))
      }
      const from = all('x-forwarded-for').join(',').split(',').at(-1)?.trim() ?? ''
      requests.push({ method, target, host, body, from })
      const options = all('connection').flatMap((value) => value.split(',').map((each) => each.trim().toLowerCase()))
      if (options.includes('close') || (minor === '0' && !options.includes('keep-alive'))) return { requests, end: 'complete' }
    }
  } catch (error) {
    if (error instanceof Incomplete) return { requests, end: 'incomplete' }
    if (error instanceof Refused) return { requests, end: 'refused' }
    throw error
  }
}

function settle(target: string, host: string | undefined): { target: string; host: string } {
  const match = /^https?:\/\/([^/?#]*)(.*)$/i.exec(target)
  if (!match) return { target, host: bare(host ?? '') }
  const [, authority = '', rest = ''] = match
  if (host !== undefined && bare(host) !== bare(authority)) throw new Refused()
  return { target: rest.startsWith('/') ? rest : `/${rest}`, host: bare(authority) }
}

const bare = (host: string): string => host.replace(/:\d*$/, '').replace(/\.$/, '').toLowerCase()
