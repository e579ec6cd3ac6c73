import type { Socket } from 'node:net'
import { createSecureContext, createServer, type SecureContext, type Server } from 'node:tls'
import type { Logger } from '@bloomery/telemetry'
import type { AcmeChallenge } from '../middleware/acme-challenge.js'
import type { AcmeHandshakeTaker } from '../proxy/data-plane.js'
import { readFirstBytes } from './client-hello.js'
import { giveBack, lookAtFirstBytes } from './first-bytes.js'

const PROTOCOL = 'acme-tls/1'
/** A client that has not said what it speaks by then is served as all others are. */
const INSPECT_MS = 5_000
/** The connection serves nothing but the handshake. */
const LIFE_MS = 10_000

/**
 * Answers certificate authorities that ask by TLS-ALPN-01 (RFC 8737): who offers the protocol acme-tls/1 for a name under challenge is shown
 * that challenge's certificate, and nothing else ever is. While no challenge is under way no connection is looked at.
 */
export class AcmeHandshakes implements AcmeHandshakeTaker {
  readonly #server: Server
  readonly #contexts = new Map<string, { readonly certificatePem: string; readonly context: SecureContext }>()

  constructor(private readonly log: Logger) {
    this.#server = createServer({
      ALPNProtocols: [PROTOCOL],
      SNICallback: (name, done) => {
        const found = this.#contexts.get(name.toLowerCase())
        if (found) done(null, found.context)
        else done(new Error('no challenge under way for this name'))
      },
    })
    this.#server.on('tlsClientError', (_error, socket) => socket.destroy())
    this.#server.on('secureConnection', (socket) => {
      socket.on('error', () => socket.destroy())
      // Whatever the client still says; its own end is only seen by a reader, and is the connection's.
      socket.resume()
      socket.end()
    })
  }

  get isExpecting(): boolean {
    return this.#contexts.size > 0
  }

  /** Takes the place of all challenges before. */
  replace(challenges: readonly AcmeChallenge[]): void {
    const before = new Map(this.#contexts)
    this.#contexts.clear()
    for (const { name, certificatePem, privateKeyPem } of challenges) {
      if (certificatePem === undefined || privateKeyPem === undefined) continue
      const key = name.toLowerCase()
      const known = before.get(key)
      try {
        this.#contexts.set(
          key,
          known?.certificatePem === certificatePem
            ? known
            : { certificatePem, context: createSecureContext({ cert: certificatePem, key: privateKeyPem }) },
        )
      } catch (error) {
        this.log.error({ err: error, name }, 'the answer to a certificate authority cannot be used')
      }
    }
  }

  take(socket: Socket, giveOn: () => void): void {
    lookAtFirstBytes(socket, {
      timeoutMs: INSPECT_MS,
      read: (bytes) => {
        const first = readFirstBytes(bytes)
        return first.kind === 'incomplete' ? undefined : first.kind === 'tls' && first.protocols.includes(PROTOCOL)
      },
      done: (seen) => {
        if (seen.kind === 'ended') return void socket.destroy()
        giveBack(socket, seen.bytes)
        if (seen.kind === 'late' || !seen.value) return giveOn()
        setTimeout(() => socket.destroy(), LIFE_MS).unref()
        this.#server.emit('connection', socket)
      },
    })
  }
}
