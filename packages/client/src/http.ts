import { lookup as systemLookup, type LookupOptions } from 'node:dns'
import http, { type ClientRequest, type IncomingMessage } from 'node:http'
import type { Agent as SecureAgent } from 'node:https'
import type { LookupFunction } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'
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
/** An answer to an upload may take as long as the server needs to unpack it. */
const IDLE_MS = 15 * 60_000
const CONNECT_MS = 10_000

/**
 * Plain HTTP on Node's own client, which every process has anyway: it starts in a fraction of the time that others take.
 * Repeats what may be repeated when a gateway or the network fails, as cf does.
 */
export class Http {
  private readonly plain = new http.Agent({ keepAlive: true })
  private secure: SecureAgent | undefined

  constructor(private readonly options: { readonly skipSslValidation?: boolean; readonly authorityPem?: string } = {}) {}

  async send(request: HttpRequest): Promise<HttpAnswer> {
    const whole = request.body === undefined || typeof request.body === 'string'
    for (let attempt = 1; ; attempt++) {
      const last = !whole || request.method === 'POST' || attempt === ATTEMPTS
      try {
        const answer = await this.sendOnce(request)
        if (last || ![502, 503, 504].includes(answer.status)) return answer
        await answer.text()
      } catch (error) {
        request.signal?.throwIfAborted()
        // The server had given up a kept connection before it saw anything of this request.
        const unseen = error instanceof StaleConnection && whole && attempt < ATTEMPTS
        if (last && !unseen) throw unreachable(request.url, error)
        if (unseen) continue
      }
      await delay(PAUSE_MS * attempt, undefined, request.signal ? { signal: request.signal } : {})
    }
  }

  async close(): Promise<void> {
    this.plain.destroy()
    this.secure?.destroy()
  }

  private async sendOnce(request: HttpRequest): Promise<HttpAnswer> {
    const { method, url, headers, body, signal } = request
    const call = await this.open(url, body instanceof Readable, {
      method,
      lookup: lookupLocalhost,
      timeout: IDLE_MS,
      headers: { ...headers, ...(typeof body === 'string' ? { 'content-length': Buffer.byteLength(body) } : {}) },
      ...(signal ? { signal } : {}),
    })
    return new Promise((resolve, reject) => {
      boundConnecting(call)
      call.once('response', (answer) => resolve(answerOf(answer)))
      call.once('timeout', () => call.destroy(new Error('no answer in time')))
      call.on('error', (error) => {
        const stale = call.reusedSocket && signal?.aborted !== true
        reject(stale ? new StaleConnection(error.message, { cause: error }) : error)
      })
      if (body instanceof Readable) pipeline(body, call).catch(reject)
      else call.end(body)
    })
  }

  /** On a kept connection; what cannot be sent again takes none that may have been given up meanwhile. */
  private async open(url: string, once: boolean, options: http.RequestOptions): Promise<ClientRequest> {
    if (!url.startsWith('https:')) return http.request(url, { ...options, agent: once ? false : this.plain })
    const trust = {
      rejectUnauthorized: this.options.skipSslValidation !== true,
      ...(this.options.authorityPem === undefined ? {} : { ca: this.options.authorityPem }),
    }
    // TLS takes long to load, and is not wanted by everyone.
    const https = await import('node:https')
    this.secure ??= new https.Agent({ keepAlive: true, ...trust })
    return https.request(url, { ...options, ...trust, agent: once ? false : this.secure })
  }
}

class StaleConnection extends Error {}

function answerOf(message: IncomingMessage): HttpAnswer {
  const text = async (): Promise<string> => {
    const chunks: Buffer[] = []
    for await (const chunk of message as AsyncIterable<Buffer>) chunks.push(chunk)
    return Buffer.concat(chunks).toString('utf8')
  }
  return { status: message.statusCode ?? 0, headers: message.headers, text, body: message }
}

function boundConnecting(call: ClientRequest): void {
  call.once('socket', (socket) => {
    if (!socket.connecting) return
    const timer = setTimeout(
      () => call.destroy(Object.assign(new Error('no connection in time'), { code: 'ETIMEDOUT' })),
      CONNECT_MS,
    )
    const settled = (): void => clearTimeout(timer)
    socket.once('connect', settled).once('close', settled)
  })
}

/** Names under .localhost are this machine, whatever its resolver makes of them (RFC 6761). */
const lookupLocalhost: LookupFunction = (hostname, options: LookupOptions, callback) => {
  if (!hostname.endsWith('.localhost')) return systemLookup(hostname, options, callback)
  if (options.all) callback(null, [{ address: '127.0.0.1', family: 4 }])
  else callback(null, '127.0.0.1', 4)
}

function unreachable(url: string, error: unknown): ClientError {
  if (error instanceof ClientError) return error
  const { host } = new URL(url)
  const cause = error instanceof StaleConnection ? error.cause : error
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
  const reason = code || (cause instanceof Error ? cause.message : String(cause))
  return new ClientError('unreachable', `${host} cannot be reached (${reason}). ${hintOf(code)}`, { cause: error })
}

function hintOf(code: string): string {
  if (/CERT|SELF_SIGNED|ALTNAME|ISSUER/.test(code))
    return 'Its certificate is not trusted here; target it with --skip-ssl-validation if you know it to be yours.'
  if (code === 'EPROTO' || code.startsWith('ERR_SSL')) return 'It does not speak TLS there; begin the address with http://.'
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'Its name cannot be resolved; check the address and your network.'
  return 'Is the platform running, and is the address right?'
}
