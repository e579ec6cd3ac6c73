import { request as httpRequest, type ClientRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import type { Socket } from 'node:net'
import { attemptError, coded, DIAL_TIMEOUT, isReplayable, reuseFor, RESPONSE_TIMEOUT, type Phase } from '../failures.js'
import type { Target } from '../proxy/forwarding.js'
import { LIMITS } from '../proxy/limits.js'
import type { Connections } from './connections.js'
import type { PlainCall } from './plain-call.js'
import { sendRequestBody } from './request-body.js'

/** What an endpoint answered: a response whose body is still to come, or the switch to another protocol. */
export type Answered =
  | { readonly kind: 'response'; readonly call: ClientRequest; readonly incoming: IncomingMessage }
  | { readonly kind: 'upgrade'; readonly incoming: IncomingMessage; readonly socket: Socket; readonly head: Buffer }

/** The client went away before there was an answer. */
export class ClientGoneError extends Error {
  override readonly name = 'ClientGoneError'
}

/**
 * Sends the request to one target. Resolves with the head of its answer; rejects with an AttemptError or a
 * {@link ClientGoneError}. The body begins to flow once there is a connection, so that a refused one has cost none of it.
 */
export function attempt(plain: PlainCall, target: Target, connections: Connections, fresh: boolean): Promise<Answered> {
  const { exchange, response } = plain
  if (response.destroyed) return Promise.reject(new ClientGoneError('the client went away'))
  const replayable = isReplayable(exchange)
  return new Promise((resolve, reject) => {
    const options: RequestOptions & { poolKey: string } = {
      agent: connections.agentFor(fresh ? 'new' : reuseFor(exchange)),
      poolKey: target.key,
      host: target.host,
      port: target.port,
      method: exchange.method,
      path: exchange.target,
      headers: exchange.headers.toFlat(),
      setHost: false,
    }
    const call = httpRequest(options)
    let phase: Phase = 'connecting'
    let settled = false
    const responseTimer = setTimeout(() => call.destroy(coded(RESPONSE_TIMEOUT, 'no response in time')), LIMITS.responseMs)
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
        sendRequestBody(plain, call)
      }
      if (!socket.connecting) return connected()
      const dialTimer = setTimeout(() => call.destroy(coded(DIAL_TIMEOUT, 'no connection in time')), LIMITS.dialMs)
      socket.once('connect', connected)
      socket.once('connect', () => clearTimeout(dialTimer))
      socket.once('close', () => clearTimeout(dialTimer))
    })
    // Stays for the whole call: after the head, what fails is seen where the body is read.
    call.on('error', (error: NodeJS.ErrnoException) => settle(() => reject(attemptError({ phase, replayable }, target, error))))
    call.once('response', (incoming) => settle(() => resolve({ kind: 'response', call, incoming })))
    call.once('upgrade', (incoming, socket, head) => settle(() => resolve({ kind: 'upgrade', incoming, socket, head })))
  })
}
