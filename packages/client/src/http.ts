import { lookup as systemLookup, type LookupOptions } from 'node:dns'
import type { LookupFunction } from 'node:net'
import type { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { Agent, type Dispatcher } from 'undici'
import { ClientError } from './errors.js'

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

export interface HttpRequest {
  readonly method: Method
  readonly url: string
  readonly headers?: Readonly<Record<string, string>>
  /** A stream is sent as it comes, and never sent again. */
  readonly body?: string | Readable
  readonly signal?: AbortSignal
}

export interface HttpAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  text(): Promise<string>
  readonly body: Readable
}

const ATTEMPTS = 3
const PAUSE_MS = 250

/** Plain HTTP over undici: repeats what may be repeated when a gateway or the network fails, as cf does. */
export class Http {
  private readonly dispatcher: Dispatcher

  constructor(options: { readonly skipSslValidation?: boolean; readonly authorityPem?: string } = {}) {
    this.dispatcher = new Agent({
      // An answer to an upload may take as long as the server needs to unpack it.
      headersTimeout: 15 * 60_000,
      bodyTimeout: 5 * 60_000,
      connect: {
        lookup: lookupLocalhost,
        timeout: 10_000,
        rejectUnauthorized: options.skipSslValidation !== true,
        ...(options.authorityPem === undefined ? {} : { ca: options.authorityPem }),
      },
    })
  }

  async send(request: HttpRequest): Promise<HttpAnswer> {
    const repeatable = request.method !== 'POST' && (request.body === undefined || typeof request.body === 'string')
    for (let attempt = 1; ; attempt++) {
      const last = !repeatable || attempt === ATTEMPTS
      try {
        const answer = await this.sendOnce(request)
        if (last || ![502, 503, 504].includes(answer.status)) return answer
        await answer.text()
      } catch (error) {
        request.signal?.throwIfAborted()
        if (last) throw unreachable(request.url, error)
      }
      await delay(PAUSE_MS * attempt, undefined, request.signal ? { signal: request.signal } : {})
    }
  }

  async close(): Promise<void> {
    await this.dispatcher.destroy()
  }

  private async sendOnce({ method, url, headers, body, signal }: HttpRequest): Promise<HttpAnswer> {
    const { origin, pathname, search } = new URL(url)
    const answer = await this.dispatcher.request({
      origin,
      path: pathname + search,
      method,
      headers: { ...headers },
      ...(body === undefined ? {} : { body }),
      ...(signal ? { signal } : {}),
    })
    return { status: answer.statusCode, headers: answer.headers, text: () => answer.body.text(), body: answer.body }
  }
}

/** Names under .localhost are this machine, whatever its resolver makes of them (RFC 6761). */
const lookupLocalhost: LookupFunction = (hostname, options: LookupOptions, callback) => {
  if (!hostname.endsWith('.localhost')) return systemLookup(hostname, options, callback)
  if (options.all) callback(null, [{ address: '127.0.0.1', family: 4 }])
  else callback(null, '127.0.0.1', 4)
}

function unreachable(url: string, error: unknown): ClientError {
  const { host } = new URL(url)
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const reason = code || (error instanceof Error ? error.message : String(error))
  const hint = /CERT|SELF_SIGNED|ALTNAME|ISSUER/.test(code)
    ? 'Its certificate is not trusted here; target it with --skip-ssl-validation if you know it to be yours.'
    : 'Is the platform running, and is the address right?'
  return new ClientError('unreachable', `${host} cannot be reached (${reason}). ${hint}`, { cause: error })
}
