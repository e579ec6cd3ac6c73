/** One answer as a strict reader of RFC 9112 reads it. */
export interface ReadAnswer {
  readonly status: number
  /** Latin-1. */
  readonly body: string
  /** Value of X-Cf-RouterError, where the router speaks for itself. */
  readonly routerError: string | undefined
  /** `whole`: read to its end; `cut`: the connection ended before; `refused`: nobody should read it. */
  readonly end: 'whole' | 'cut' | 'refused'
  /** Where the next answer begins. */
  readonly next: number
}

class Refused extends Error {}
class Cut extends Error {}
const FIELD = /^([!#$%&'*+.^_`|~\w-]+):[ \t]*((?:[\t\x20-\x7e\x80-\xff])*)$/
const STATUS_LINE = /^HTTP\/1\.([01]) (\d{3})(?: ([\t\x20-\x7e\x80-\xff]*))?$/

/** Reads the answer to a request of this method from a connection's bytes; the connection ends with them. */
export function readAnswer(bytes: Buffer, method: string, from = 0): ReadAnswer {
  const text = bytes.toString('latin1')
  let at = from
  let [status, body, routerError] = [0, '', undefined as string | undefined]
  const line = (): string => {
    const end = text.indexOf('\r\n', at)
    const found = end === -1 ? text.slice(at) : text.slice(at, end)
    if (/[\r\n\0]/.test(end === -1 ? found.replace(/\r$/, '') : found)) throw new Refused()
    if (end === -1) throw new Cut()
    at = end + 2
    return found
  }
  const fields = (): [string, string][] => {
    const found: [string, string][] = []
    for (let each = line(); each !== ''; each = line()) {
      const match = FIELD.exec(each)
      if (!match) throw new Refused()
      found.push([(match[1] ?? '').toLowerCase(), (match[2] ?? '').replace(/[ \t]+$/, '')])
    }
    return found
  }
  const take = (length: number): void => {
    body += text.slice(at, at + length)
    if (at + length > text.length) throw new Cut()
    at += length
  }
  try {
    for (;;) {
      const match = STATUS_LINE.exec(line())
      if (!match) throw new Refused()
      status = Number(match[2])
      const head = fields()
      const all = (name: string): string[] => head.filter(([each]) => each === name).map(([, value]) => value)
      if (status < 100 || status === 101) throw new Refused()
      if (status < 200) continue
      routerError = all('x-cf-routererror')[0]
      const [lengths, codings] = [all('content-length'), all('transfer-encoding')]
      if (lengths.length + codings.length > 1) throw new Refused()
      if (codings.length === 1 && (match[1] !== '1' || codings[0]?.toLowerCase() !== 'chunked')) throw new Refused()
      if (lengths[0] !== undefined && !/^\d{1,15}$/.test(lengths[0])) throw new Refused()
      if (method === 'HEAD' || status === 204 || status === 304) break
      if (lengths[0] !== undefined) take(Number(lengths[0]))
      else if (codings.length === 1) {
        for (;;) {
          const size = /^([0-9a-f]{1,15})((?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?)$/i.exec(line())
          if (!size) throw new Refused()
          const length = parseInt(size[1] ?? '', 16)
          if (length === 0) break
          take(length)
          if (at + 2 > text.length) throw new Cut()
          if (text.slice(at, at + 2) !== '\r\n') throw new Refused()
          at += 2
        }
        // What would delimit the body has no place behind it.
        if (fields().some(([name]) => name === 'content-length' || name === 'transfer-encoding')) throw new Refused()
      } else {
        body = text.slice(at)
        at = text.length
      }
      break
    }
    return { status, body, routerError, end: 'whole', next: at }
  } catch (error) {
    if (error instanceof Cut) return { status, body, routerError, end: 'cut', next: at }
    if (error instanceof Refused) return { status, body, routerError, end: 'refused', next: at }
    throw error
  }
}
