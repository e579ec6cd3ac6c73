import type { Socket } from 'node:net'
import { createSecureContext, createServer, type SecureContext, type Server } from 'node:tls'
import type { Logger } from '@bloomery/telemetry'
import type { AcmeChallenge } from '../middleware/acme-challenge.js'
import type { AcmeHandshakeTaker } from '../proxy/data-plane.js'
import { readFirstBytes } from './client-hello.js'

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
      const known = before.get(name)
      try {
        this.#contexts.set(
          name.toLowerCase(),
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
    let seen: Buffer = Buffer.alloc(0)
    const fail = (): void => void socket.destroy()
    const stop = (): void => {
      clearTimeout(timer)
      socket.off('data', read)
      socket.off('error', fail)
      socket.off('end', fail)
      socket.off('close', stop)
    }
    const decide = (isChallenge: boolean): void => {
      stop()
      socket.pause()
      if (seen.length > 0) socket.unshift(seen)
      if (!isChallenge) return giveOn()
      setTimeout(fail, LIFE_MS).unref()
      this.#server.emit('connection', socket)
    }
    const read = (chunk: Buffer): void => {
      seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk])
      const first = readFirstBytes(seen)
      if (first.kind !== 'incomplete') decide(first.kind === 'tls' && first.protocols.includes(PROTOCOL))
    }
    const timer = setTimeout(() => decide(false), INSPECT_MS)
    socket.on('error', fail)
    socket.on('end', fail)
    socket.on('close', stop)
    socket.on('data', read)
    // It may have been held while a PROXY header was read.
    socket.resume()
  }
}
