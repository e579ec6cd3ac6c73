import { once } from 'node:events'
import { Agent, request } from 'node:https'
import type { Socket } from 'node:net'
import { guardedConnect, type ConnectTarget } from '@bloomery/egress'
import type { SyslogDrain } from '@bloomery/contracts'
import type { TenantAddressPolicy } from '@bloomery/domain'
import type { DrainOptions } from './drain-options.js'
import { octetCounted } from './rfc5424.js'

/** Where a drain's messages go. Not for two calls at once. */
export interface DrainTarget {
  /** Resolves when all are handed over; rejects when they should be sent again. */
  send(messages: readonly Buffer[], signal: AbortSignal): Promise<void>
  close(): void
}

const CONNECT_TIMEOUT_MS = 10_000
/** A reader that takes nothing for so long is as good as dead. */
const STALL_TIMEOUT_MS = 30_000
const HTTPS_CONNECTIONS = 4
const SYSLOG_PORT = 514
const SYSLOG_TLS_PORT = 6514

interface TargetInput {
  readonly drain: SyslogDrain
  readonly url: URL
  readonly options: DrainOptions
  readonly policy: TenantAddressPolicy
  /** How long a reader may take nothing. @default 30 s */
  readonly stallTimeoutMs?: number
}

export const createTarget = (input: TargetInput): DrainTarget =>
  input.options.protocol === 'syslog' || input.options.protocol === 'syslog-tls'
    ? new SyslogTarget(input)
    : new HttpsTarget(input)

const tlsOf = ({ certificatePem, privateKeyPem, authorityPem }: SyslogDrain): NonNullable<ConnectTarget['tls']> => ({
  ...(certificatePem === undefined || privateKeyPem === undefined ? {} : { cert: certificatePem, key: privateKeyPem }),
  ...(authorityPem === undefined ? {} : { ca: authorityPem }),
})
const hostOf = (url: URL): string => url.hostname.replace(/^\[|\]$/g, '')

/** RFC 5424 over TCP or TLS, framed by octet counting. The connection stays open; what the other side says is ignored. */
class SyslogTarget implements DrainTarget {
  #socket: Socket | undefined

  constructor(private readonly input: TargetInput) {}

  async send(messages: readonly Buffer[], signal: AbortSignal): Promise<void> {
    const socket = await this.#connected(signal)
    const failed = new AbortController()
    const fail = (error?: Error): void => failed.abort(error ?? new Error('the connection was closed by the other side'))
    const onClose = (): void => fail()
    socket.once('error', fail).once('close', onClose)
    signal.addEventListener('abort', onClose)
    try {
      if (socket.destroyed || signal.aborted) fail()
      failed.signal.throwIfAborted()
      for (const message of messages) {
        if (socket.write(octetCounted(message))) continue
        await once(socket, 'drain', { signal: failed.signal })
      }
      await flushed(socket, failed.signal)
    } catch (error) {
      socket.destroy()
      throw failed.signal.aborted ? failed.signal.reason : error
    } finally {
      socket.removeListener('error', fail).removeListener('close', onClose)
      signal.removeEventListener('abort', onClose)
    }
  }

  close(): void {
    this.#socket?.destroySoon()
    this.#socket = undefined
  }

  async #connected(signal: AbortSignal): Promise<Socket> {
    if (this.#socket && !this.#socket.destroyed && this.#socket.writable) return this.#socket
    this.#socket?.destroy()
    const { drain, url, options, policy } = this.input
    const isTls = options.protocol === 'syslog-tls'
    const socket = await guardedConnect(policy, {
      host: hostOf(url),
      port: url.port === '' ? (isTls ? SYSLOG_TLS_PORT : SYSLOG_PORT) : Number(url.port),
      timeoutMs: CONNECT_TIMEOUT_MS,
      signal,
      ...(isTls ? { tls: tlsOf(drain) } : {}),
    })
    socket.setKeepAlive(true, 30_000)
    socket.resume()
    // Nothing may throw while nobody sends; the next to send sees that it is closed.
    socket.on('error', () => undefined)
    socket.setTimeout(this.input.stallTimeoutMs ?? STALL_TIMEOUT_MS, () => {
      if (socket.writableLength > 0) socket.destroy(new Error('the other side reads no more'))
    })
    this.#socket = socket
    return socket
  }
}

/** Resolves once the system has taken all that was written. */
const flushed = (socket: Socket, failed: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const fail = (): void => reject(failed.reason instanceof Error ? failed.reason : new Error('the connection failed'))
    if (failed.aborted) return fail()
    failed.addEventListener('abort', fail)
    socket.write(Buffer.alloc(0), (error) => {
      failed.removeEventListener('abort', fail)
      if (error) reject(error)
      else resolve()
    })
  })

/** One POST per message (https), or one for many (https-batch). Redirects are not followed. */
class HttpsTarget implements DrainTarget {
  readonly #agent: Agent

  constructor(private readonly input: TargetInput) {
    const { drain, url, policy } = input
    const host = hostOf(url)
    const port = url.port === '' ? 443 : Number(url.port)
    this.#agent = new Agent({ keepAlive: true, maxSockets: HTTPS_CONNECTIONS })
    Object.assign(this.#agent, {
      createConnection: (_options: unknown, callback: (error: Error | null, socket?: Socket) => void): void => {
        guardedConnect(policy, { host, port, timeoutMs: CONNECT_TIMEOUT_MS, tls: tlsOf(drain) }).then(
          (socket) => callback(null, socket),
          (error: unknown) => callback(error instanceof Error ? error : new Error(String(error))),
        )
      },
    })
  }

  async send(messages: readonly Buffer[], signal: AbortSignal): Promise<void> {
    if (this.input.options.protocol === 'https-batch') return this.#post(Buffer.concat(messages), signal)
    // A few at once, and the first refusal ends it: all of these are sent again.
    for (let at = 0; at < messages.length; at += HTTPS_CONNECTIONS)
      await Promise.all(messages.slice(at, at + HTTPS_CONNECTIONS).map((message) => this.#post(message, signal)))
  }

  close(): void {
    this.#agent.destroy()
  }

  #post(body: Buffer, signal: AbortSignal): Promise<void> {
    const { url, stallTimeoutMs = STALL_TIMEOUT_MS } = this.input
    const address = new URL(url)
    address.protocol = 'https:'
    const credentials =
      url.username === '' ? undefined : `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`
    return new Promise((resolve, reject) => {
      const call = request(
        {
          agent: this.#agent,
          method: 'POST',
          host: hostOf(url),
          port: url.port === '' ? 443 : Number(url.port),
          path: pathOf(url),
          signal,
          timeout: stallTimeoutMs,
          headers: {
            host: url.host,
            'content-type': 'text/plain',
            'content-length': body.length,
            ...(credentials === undefined ? {} : { authorization: `Basic ${Buffer.from(credentials).toString('base64')}` }),
          },
        },
        (response) => {
          response.resume()
          response.once('error', reject)
          response.once('end', () => {
            const status = response.statusCode ?? 0
            if (status >= 200 && status < 300) resolve()
            else reject(new Error(`it answered with status ${status}`))
          })
        },
      )
      call.once('timeout', () => call.destroy(new Error('it did not answer in time')))
      call.once('error', reject)
      call.end(body)
    })
  }
}

const pathOf = (url: URL): string => `${url.pathname === '' ? '/' : url.pathname}${url.search}`
