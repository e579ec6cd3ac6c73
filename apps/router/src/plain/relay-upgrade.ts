import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { RawHeaders } from '../proxy/raw-headers.js'
import type { PlainCall } from './plain-call.js'

const KEEP_ALIVE_MS = 60_000

/** Passes a switched connection's bytes both ways until either side closes. */
export function relayUpgrade(plain: PlainCall, incoming: IncomingMessage, backend: Socket, backendHead: Buffer): Promise<void> {
  const { response, upgrade, exchange } = plain
  const { outcome } = exchange
  if (!upgrade) throw new Error('only an upgrade request can be switched')
  const client = upgrade.socket
  const headers = RawHeaders.from(incoming.rawHeaders)
  headers.remove('x-cf-proxy-signature')
  if (!headers.has('x-vcap-request-id')) headers.append('X-Vcap-Request-Id', exchange.requestId)
  outcome.status = incoming.statusCode
  // From here on the connection carries no HTTP any more.
  response.detachSocket(client)
  client.write(switchingHead(incoming, headers), 'latin1')
  for (const socket of [client, backend]) {
    socket.setTimeout(0)
    socket.setNoDelay(true)
    socket.setKeepAlive(true, KEEP_ALIVE_MS)
  }
  if (upgrade.head.length > 0) backend.write(upgrade.head)
  if (backendHead.length > 0) client.write(backendHead)
  outcome.requestBytes += upgrade.head.length
  outcome.responseBytes += backendHead.length
  client.on('data', (chunk: Buffer) => (outcome.requestBytes += chunk.length))
  backend.on('data', (chunk: Buffer) => (outcome.responseBytes += chunk.length))
  return new Promise((resolve) => {
    const join = (one: Socket, other: Socket): void => {
      one.once('error', () => other.destroy())
      // What the other side has still to be sent goes out first.
      one.once('close', () => other.destroySoon())
      one.once('close', () => other.closed && resolve())
    }
    join(client, backend)
    join(backend, client)
    // `pipe` passes on the end of each direction, so a half-closed connection still delivers what is under way.
    client.pipe(backend)
    backend.pipe(client)
  })
}

function switchingHead(incoming: IncomingMessage, headers: RawHeaders): string {
  const flat = headers.toFlat()
  const lines = flat.flatMap((name, i) => (i % 2 === 0 ? [`${name}: ${flat[i + 1] ?? ''}`] : []))
  return [`HTTP/1.1 101 ${incoming.statusMessage || 'Switching Protocols'}`, ...lines, '', ''].join('\r\n')
}
