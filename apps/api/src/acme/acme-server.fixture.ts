import { execFileSync } from 'node:child_process'
import { createHash, randomBytes, X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

interface Order {
  status: string
  readonly name: string
  readonly token: string
  /** The account's key, as it stands in key authorizations. */
  readonly thumbprint: string
  certificate?: string
}

/** How this authority asks; each tells what it has seen. */
export interface AuthorityView {
  readonly visit: (name: string, token: string) => Promise<string>
  /** The certificate, DER, that is shown to whoever offers acme-tls/1. */
  readonly shakeHands: (name: string) => Promise<Buffer>
}

/** The basics of RFC 8555: accounts, orders, HTTP-01, TLS-ALPN-01, certificates signed by openssl. Signatures are not verified. */
export class AcmeServer {
  readonly #folder = mkdtempSync(join(tmpdir(), 'bloomery-acme-'))
  readonly #orders: Order[] = []
  readonly accounts = new Set<string>()
  /** By which way each name was asked for. */
  readonly asked: string[] = []
  readonly #server: Server
  #base = ''

  /** Ways of asking that it offers. */
  types: readonly string[] = ['http-01', 'tls-alpn-01']
  /** Of what it issues, from now on. */
  lifeDays = 10
  /** Whether it finds fault with every order. */
  isRefusing = false
  #thumbprint = ''

  constructor(readonly view: AuthorityView) {
    this.#openssl(['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', 'ca.key', '-out', 'ca.crt', '-days', '30', '-subj', '/CN=test authority']) // prettier-ignore
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const text = Buffer.concat(chunks).toString()
        void this.#answer(request.url ?? '', text).then(({ status = 200, headers = {}, body }) => {
          response.writeHead(status, {
            'replay-nonce': randomBytes(8).toString('hex'),
            'content-type': 'application/json',
            ...headers,
          })
          response.end(typeof body === 'string' ? body : JSON.stringify(body ?? {}))
        })
      })
    })
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    this.#base = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
    return `${this.#base}/directory`
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
    rmSync(this.#folder, { recursive: true })
  }

  get issued(): string[] {
    return this.#orders.filter(({ status }) => status === 'valid').map(({ name }) => name)
  }

  async #answer(url: string, text: string): Promise<{ status?: number; headers?: Record<string, string>; body?: unknown }> {
    const base = this.#base
    const [, what = '', id = '', type = ''] = url.split('/')
    const order = this.#orders[Number(id)]
    const sent = text === '' ? undefined : (JSON.parse(text) as { protected: string; payload: string })
    const payload = sent?.payload
      ? (JSON.parse(Buffer.from(sent.payload, 'base64url').toString()) as Record<string, unknown>)
      : {}
    switch (what) {
      case 'directory':
        return { body: { newNonce: `${base}/nonce`, newAccount: `${base}/account`, newOrder: `${base}/order`, meta: {} } }
      case 'nonce':
        return {}
      case 'account': {
        const { jwk } = JSON.parse(Buffer.from(sent?.protected ?? '', 'base64url').toString()) as {
          jwk: { crv: string; kty: string; x: string; y: string }
        }
        const { crv, kty, x, y } = jwk
        this.#thumbprint = createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url')
        const known = this.accounts.has(jwk.x)
        this.accounts.add(jwk.x)
        return { status: known ? 200 : 201, headers: { location: `${base}/accounts/1` }, body: { status: 'valid' } }
      }
      case 'accounts':
        return { body: { status: 'valid' } }
      case 'order': {
        if (this.isRefusing)
          return {
            status: 403,
            body: { type: 'urn:ietf:params:acme:error:rejectedIdentifier', detail: 'not for this name', status: 403 },
          }
        const [identifier] = payload['identifiers'] as { value: string }[]
        this.#orders.push({
          status: 'pending',
          name: identifier?.value ?? '',
          token: randomBytes(16).toString('base64url'),
          thumbprint: this.#thumbprint,
        })
        const number = this.#orders.length - 1
        return { status: 201, headers: { location: `${base}/orders/${number}` }, body: this.#present(number) }
      }
      case 'orders':
        return { body: this.#present(Number(id)) }
      case 'authorization':
        return {
          body: {
            identifier: { type: 'dns', value: order?.name },
            status: order?.status === 'pending' ? 'pending' : 'valid',
            challenges: this.types.map((type) => ({
              type,
              status: order?.status,
              url: `${base}/challenge/${id}/${type}`,
              token: order?.token,
            })),
          },
        }
      case 'challenge': {
        if (!order) return { status: 404 }
        // Asked for again, it only tells how it went.
        if (order.status === 'pending') {
          order.status = (await this.#isProven(order, type)) ? 'ready' : 'invalid'
          this.asked.push(type)
        }
        return {
          body: {
            type,
            status: order.status === 'ready' ? 'valid' : 'invalid',
            url: `${base}/challenge/${id}/${type}`,
            token: order.token,
          },
        }
      }
      case 'finalize': {
        if (!order) return { status: 404 }
        order.certificate = this.#sign(order.name, String(payload['csr']))
        order.status = 'valid'
        return { body: this.#present(Number(id)) }
      }
      case 'certificate':
        return { headers: { 'content-type': 'application/pem-certificate-chain' }, body: order?.certificate }
      default:
        return { status: 404 }
    }
  }

  async #isProven({ name, token, thumbprint }: Order, type: string): Promise<boolean> {
    const keyAuthorization = `${token}.${thumbprint}`
    if (type === 'http-01') return (await this.view.visit(name, token).catch(() => '')) === keyAuthorization
    const shown = await this.view.shakeHands(name).catch(() => undefined)
    if (!shown) return false
    const { subjectAltName, raw } = new X509Certificate(shown)
    const hash = createHash('sha256').update(keyAuthorization).digest()
    // The extension 1.3.6.1.5.5.7.1.31, critical, with an octet string of the hash.
    const proof = Buffer.concat([Buffer.from('06082b0601050507011f0101ff04220420', 'hex'), hash])
    return subjectAltName === `DNS:${name}` && raw.includes(proof)
  }

  #present(number: number): object {
    const { status, name } = this.#orders[number] ?? { status: 'invalid', name: '' }
    return {
      status,
      identifiers: [{ type: 'dns', value: name }],
      authorizations: [`${this.#base}/authorization/${number}`],
      finalize: `${this.#base}/finalize/${number}`,
      certificate: `${this.#base}/certificate/${number}`,
    }
  }

  #sign(name: string, csr: string): string {
    writeFileSync(join(this.#folder, 'csr.der'), Buffer.from(csr, 'base64url'))
    writeFileSync(join(this.#folder, 'names'), `subjectAltName=DNS:${name}`)
    this.#openssl(['x509', '-req', '-inform', 'DER', '-in', 'csr.der', '-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', String(this.lifeDays), '-extfile', 'names', '-out', 'out.crt']) // prettier-ignore
    return readFileSync(join(this.#folder, 'out.crt'), 'utf8') + readFileSync(join(this.#folder, 'ca.crt'), 'utf8')
  }

  #openssl(args: readonly string[]): void {
    execFileSync('openssl', args, { cwd: this.#folder, stdio: 'ignore' })
  }
}
