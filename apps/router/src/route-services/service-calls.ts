import type { Duplex } from 'node:stream'
import { Agent, request as httpsRequest, type AgentOptions } from 'node:https'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TenantAddressPolicy } from '@bloomery/domain'
import { guardedConnect } from '@bloomery/egress'
import { presentAnswer } from '../answers.js'
import { type ErrorPage, plainPage } from '../error-pages/error-page.js'
import type { Exchange } from '../proxy/exchange.js'
import type { Handler } from '../proxy/handler.js'
import { LIMITS } from '../proxy/limits.js'
import { RawHeaders } from '../proxy/raw-headers.js'
import { toClientHeaders } from '../proxy/response-headers.js'

const MAX_ATTEMPTS = 3
const OPTIONS: AgentOptions = { keepAlive: true, maxFreeSockets: 16, timeout: LIMITS.endpointIdleMs }

/** Connects only where a tenant may have us connect. */
class GuardedAgent extends Agent {
  constructor(
    private readonly policy: TenantAddressPolicy,
    private readonly ca: string | undefined,
  ) {
    super(OPTIONS)
  }

  override createConnection(
    options: { readonly host?: string; readonly port?: number | string },
    done: (error: Error | null, socket: Duplex) => void,
  ): Duplex | undefined {
    guardedConnect(this.policy, {
      host: (options.host ?? '').replace(/^\[|\]$/g, ''),
      port: Number(options.port ?? 443),
      tls: { ALPNProtocols: ['http/1.1'], ...(this.ca === undefined ? {} : { ca: this.ca }) },
      timeoutMs: LIMITS.dialMs,
    }).then(
      (socket) => done(null, socket),
      (error: unknown) => (done as (error: Error) => void)(error instanceof Error ? error : new Error(String(error))),
    )
    return undefined
  }
}

/** Calls to route services elsewhere, over verified TLS. */
export class ServiceCalls {
  readonly #guarded: Agent
  readonly #trusted: Agent

  /** `ca`: authorities to believe instead of the system's. */
  constructor(
    policy: TenantAddressPolicy,
    ca?: string,
    private readonly errorPage: ErrorPage = plainPage,
  ) {
    this.#guarded = new GuardedAgent(policy, ca)
    this.#trusted = new Agent({ ...OPTIONS, ...(ca === undefined ? {} : { ca }) })
  }

  /** Hands the request to the service at this address, and its answer to the client. */
  to(url: URL, { trusted }: { readonly trusted: boolean }): Handler {
    const agent = trusted ? this.#trusted : this.#guarded
    return (exchange, request, response) => call({ url, agent, errorPage: this.errorPage, exchange, request, response }, 1)
  }

  close(): void {
    this.#guarded.destroy()
    this.#trusted.destroy()
  }
}

interface Call {
  readonly url: URL
  readonly agent: Agent
  readonly errorPage: ErrorPage
  readonly exchange: Exchange
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

function call(parts: Call, attempt: number): void {
  const { url, agent, exchange, request, response } = parts
  const { outcome } = exchange
  const headers = RawHeaders.from(exchange.headers.toFlat())
  headers.remove('expect')
  outcome.backend = url.host
  outcome.attempts++
  const startedAt = performance.now()
  const outgoing = httpsRequest({
    agent,
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port || 443,
    method: exchange.method,
    path: exchange.target,
    headers: headers.toFlat() as unknown as Record<string, string>,
    setHost: false,
  })
  let connected = false
  const gone = (): void => {
    if (!response.writableFinished) outgoing.destroy()
  }
  response.once('close', gone)
  outgoing.once('socket', (socket) => {
    const begin = (): void => {
      connected = true
      if (exchange.hasBody) {
        if (exchange.expectsContinue && !response.headersSent) response.writeContinue()
        request.pipe(outgoing)
      } else outgoing.end()
    }
    // Sockets of the guarded agent are handed over when the handshake is done.
    if (socket.connecting) socket.once('secureConnect', begin)
    else begin()
  })
  outgoing.once('error', (error: NodeJS.ErrnoException) => {
    response.off('close', gone)
    request.unpipe(outgoing)
    if (response.destroyed) return
    if (response.headersSent) return void response.destroy()
    if (!connected && attempt < MAX_ATTEMPTS && error.code !== 'EREFUSEDADDRESS') return call(parts, attempt + 1)
    const detail = `route service ${url.host}: ${error.message}`
    const {
      status,
      reason,
      headers: fields,
      body,
      routerError,
    } = parts.errorPage(presentAnswer('endpointFailure', { host: exchange.hostHeader, detail }))
    outcome.routerError = routerError
    outcome.status = status
    response.writeHead(status, reason, [...fields])
    response.end(body)
  })
  outgoing.once('response', (incoming) => {
    const fields = RawHeaders.from(incoming.rawHeaders)
    toClientHeaders(exchange, fields)
    outcome.status = incoming.statusCode
    response.writeHead(incoming.statusCode ?? 502, incoming.statusMessage, fields.toFlat())
    incoming.once('close', () => {
      outcome.backendMs += performance.now() - startedAt
      // Cut off: only the connection can tell.
      if (!incoming.complete) response.destroy()
    })
    incoming.pipe(response)
  })
}
