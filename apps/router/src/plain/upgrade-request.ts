import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { RawHeaders } from '../proxy/raw-headers.js'

/**
 * Serves a request that offers some other protocol (`h2c`, as some clients do with every request) as if it had not. Node has
 * stopped reading HTTP there, body included, so the head is given back without the offer and the connection is read anew.
 */
export function asPlainRequest(server: Server, request: IncomingMessage, socket: Duplex, rest: Buffer): void {
  const headers = RawHeaders.from(request.rawHeaders)
  headers.remove('upgrade', 'http2-settings', 'connection')
  const flat = headers.toFlat()
  const lines = flat.flatMap((name, i) => (i % 2 === 0 ? [`${name}: ${flat[i + 1] ?? ''}`] : []))
  const head = [`${request.method ?? 'GET'} ${request.url ?? '/'} HTTP/${request.httpVersion}`, ...lines, '', ''].join('\r\n')
  if (rest.length > 0) socket.unshift(rest)
  socket.unshift(Buffer.from(head, 'latin1'))
  // 'connection' is also what a TLS server emits for its decrypted connections.
  server.emit('secureConnection' in server ? 'secureConnection' : 'connection', socket)
}
