import { request as httpRequest, type ClientRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import type { Socket } from 'node:net'
import { AttemptError, classifyFailure, DIAL_TIMEOUT, RESPONSE_TIMEOUT, type Phase } from '../failures.js'
import type { Connections, Target } from './connections.js'
import { hasBody, type Exchange } from './exchange.js'
import type { RawHeaders } from './raw-headers.js'
import { sendRequestBody } from './request-body.js'

const DIAL_TIMEOUT_MS = 5_000
const RESPONSE_TIMEOUT_MS = 900_000

/** What an endpoint answered: a response whose body is still to come, or the switch to another protocol. */
export type Answered =
  | { readonly kind: 'response'; readonly call: ClientRequest; readonly incoming: IncomingMessage }
  | { readonly kind: 'upgrade'; readonly incoming: IncomingMessage; readonly socket: Socket; readonly head: Buffer }

/** The client went away before there was an answer. */
export class ClientGoneError extends Error {
  override readonly name = 'ClientGoneError'
}

const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])

/** Whether sending the request twice does no harm, and is possible. */
export const isReplayable = (method: string, headers: RawHeaders): boolean =>
  !hasBody(headers) && (IDEMPOTENT.has(method) || headers.has('idempotency-key') || headers.has('x-idempotency-key'))

/**
 * Sends the request to one target. Resolves with the head of its answer; rejects with an {@link AttemptError} or a
 * {@link ClientGoneError}. The body begins to flow once there is a connection, so that a refused one has cost none of it.
 */
export function attempt(
  exchange: Exchange,
  target: Target,
  headers: RawHeaders,
  connections: Connections,
  fresh: boolean,
): Promise<Answered> {
  const { request, response } = exchange
  if (response.destroyed) return Promise.reject(new ClientGoneError('the client went away'))
  const method = request.method ?? 'GET'
  const replayable = isReplayable(method, exchange.headers) && exchange.upgrade === undefined
  return new Promise((resolve, reject) => {
    const options: RequestOptions & { poolKey: string } = {
      agent: connections.agentFor({ replayable, fresh }),
      poolKey: target.key,
      host: target.host,
      port: target.port,
      method,
      path: exchange.target,
      headers: headers.toFlat(),
      setHost: false,
    }
    const call = httpRequest(options)
    let phase: Phase = 'connecting'
    let settled = false
    const responseTimer = setTimeout(() => call.destroy(coded(RESPONSE_TIMEOUT, 'no response in time')), RESPONSE_TIMEOUT_MS)
    const settle = (act: () => void): void => {
      if (settled) return
      settled = true
      clearTimeout(responseTimer)
      response.off('close', onClientGone)
      act()
    }
    const onClientGone = (): void =>
      settle(() => {
        call.destroy()
        reject(new ClientGoneError('the client went away'))
      })
    response.once('close', onClientGone)

    call.once('socket', (socket) => {
      const connected = (): void => {
        phase = call.reusedSocket ? 'reused-connection' : 'fresh-connection'
        socket.setNoDelay(true)
        sendRequestBody(exchange, call)
      }
      if (!socket.connecting) return connected()
      const dialTimer = setTimeout(() => call.destroy(coded(DIAL_TIMEOUT, 'no connection in time')), DIAL_TIMEOUT_MS)
      socket.once('connect', connected)
      socket.once('connect', () => clearTimeout(dialTimer))
      socket.once('close', () => clearTimeout(dialTimer))
    })
    // Stays for the whole call: after the head, what fails is seen where the body is read.
    call.on('error', (error: NodeJS.ErrnoException) =>
      settle(() => {
        const failure = classifyFailure({ phase, code: error.code ?? '', replayable })
        reject(new AttemptError(failure, `${describe(phase, target)}: ${reasonOf(error)}`, { cause: error }))
      }),
    )
    call.once('response', (incoming) => settle(() => resolve({ kind: 'response', call, incoming })))
    call.once('upgrade', (incoming, socket, head) => settle(() => resolve({ kind: 'upgrade', incoming, socket, head })))
  })
}

const coded = (code: string, message: string): NodeJS.ErrnoException => Object.assign(new Error(message), { code })

const describe = (phase: Phase, { host, port }: Target): string =>
  phase === 'connecting' ? `dial tcp ${host.includes(':') ? `[${host}]` : host}:${port}` : `${host}:${port}`

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connect: connection refused',
  EHOSTUNREACH: 'connect: no route to host',
  ENETUNREACH: 'connect: network is unreachable',
  ETIMEDOUT: 'i/o timeout',
  [DIAL_TIMEOUT]: 'i/o timeout',
  [RESPONSE_TIMEOUT]: 'timeout awaiting response headers',
  ECONNRESET: 'read: connection reset by peer',
  EPIPE: 'write: broken pipe',
}
const reasonOf = (error: NodeJS.ErrnoException): string => REASONS[error.code ?? ''] ?? error.message
