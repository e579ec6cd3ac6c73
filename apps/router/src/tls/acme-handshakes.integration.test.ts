import { connect as connectTcp } from 'node:net'
import { connect } from 'node:tls'
import { afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { createAuthority, issueServerCertificate, type ServerCertificate } from '@bloomery/pki'
import { silentLogger } from '@bloomery/telemetry'
import { bindSocket } from '../holder/listening-sockets.js'
import { Http1DataPlane } from '../http1/http1-data-plane.js'
import { answerWith } from '../answers.js'
import { AcmeChallenge } from '../middleware/acme-challenge.js'
import type { ListenerOptions } from '../proxy/data-plane.js'
import { AcmeHandshakes } from './acme-handshakes.js'
import { CertificateStore } from './certificate-store.js'

let ordinary: ServerCertificate
let proof: ServerCertificate
beforeAll(async () => {
  const authority = await createAuthority({ name: 'test' })
  ordinary = await issueServerCertificate(authority, ['shop.test'])
  proof = await issueServerCertificate(await createAuthority({ name: 'proof' }), ['shop.test'])
})

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

async function start(listener: ListenerOptions = {}): Promise<{ handshakes: AcmeHandshakes; port: number }> {
  const certificates = new CertificateStore()
  certificates.replace([{ names: ['shop.test'], ...ordinary }], () => undefined)
  const handshakes = new AcmeHandshakes(silentLogger)
  const plane = new Http1DataPlane({
    log: silentLogger,
    findCertificate: (name) => certificates.find(name),
    record: () => undefined,
    decide: (exchange) => answerWith('unknownRoute', exchange),
    acmeHandshakes: handshakes,
    listener,
  })
  certificates.onDefault((first) => plane.setDefaultCertificate(first))
  const [http, https] = [bindSocket('127.0.0.1', 0, 'A'), bindSocket('127.0.0.1', 0, 'B')]
  await plane.listen({ httpFd: http.fd, httpsFd: https.fd })
  closing.push(() => plane.close(50, 0))
  return { handshakes, port: https.port }
}

const aChallenge = (): AcmeChallenge =>
  AcmeChallenge.parse({ name: 'shop.test', token: 't', type: 'tls-alpn-01', keyAuthorization: 't.k', ...proof })

/** Which protocol was agreed on and which certificate shown; or why nothing was. */
const shake = (port: number, protocols: string[], servername = 'shop.test', before = ''): Promise<string> =>
  new Promise((resolve) => {
    const tcp = connectTcp(port, '127.0.0.1')
    if (before) tcp.write(before)
    const socket = connect({ socket: tcp, servername, ALPNProtocols: protocols, rejectUnauthorized: false })
    socket.once('error', () => resolve('refused'))
    socket.once('close', () => resolve('closed'))
    socket.once('secureConnect', () => {
      const shown = socket.getPeerX509Certificate()
      const which = shown?.issuer.includes('proof') === true ? 'proof' : 'ordinary'
      resolve(`${String(socket.alpnProtocol)} ${which}`)
      socket.end()
    })
  })

describe('a certificate authority that asks by TLS-ALPN-01', () => {
  it('is shown the proof, and only while a challenge is under way', async () => {
    const { handshakes, port } = await start()
    expect(await shake(port, ['acme-tls/1'])).toBe('refused')
    handshakes.replace([aChallenge()])
    expect(await shake(port, ['acme-tls/1'])).toBe('acme-tls/1 proof')
    expect(await shake(port, ['acme-tls/1'], 'other.test')).toBe('refused')
    handshakes.replace([])
    expect(await shake(port, ['acme-tls/1'])).toBe('refused')
  })

  it('is told apart by name in whatever case, and what is known of a challenge is used again', async () => {
    const { handshakes, port } = await start()
    const challenge = { ...aChallenge(), name: 'Shop.Test' }
    handshakes.replace([challenge])
    // Read anew, it could not be used.
    handshakes.replace([{ ...challenge, privateKeyPem: 'unreadable' }])
    expect(await shake(port, ['acme-tls/1'])).toBe('acme-tls/1 proof')
  })

  it('costs others nothing: they get what they always get, however slowly they begin', async () => {
    const { handshakes, port } = await start()
    handshakes.replace([aChallenge()])
    expect(await shake(port, ['http/1.1'])).toBe('http/1.1 ordinary')
    expect(await shake(port, [])).toBe('false ordinary')
    // A request over a connection that was looked at.
    const answer = await new Promise<string>((resolve) => {
      const socket = connect({ port, host: '127.0.0.1', servername: 'shop.test', rejectUnauthorized: false })
      let text = ''
      socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
      socket.on('close', () => resolve(text))
      socket.write('GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n')
    })
    expect(answer).toMatch(/^HTTP\/1\.1 404 /)
  })

  it('is answered behind load balancers that speak the PROXY protocol, too', async () => {
    const { handshakes, port } = await start({ proxyProtocol: true })
    handshakes.replace([aChallenge()])
    const header = 'PROXY TCP4 192.0.2.7 192.0.2.1 4000 443\r\n'
    expect(await shake(port, ['acme-tls/1'], 'shop.test', header)).toBe('acme-tls/1 proof')
    expect(await shake(port, ['http/1.1'], 'shop.test', header)).toBe('http/1.1 ordinary')
  })
})
