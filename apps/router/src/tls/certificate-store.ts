import { X509Certificate } from 'node:crypto'
import { createSecureContext, type SecureContext } from 'node:tls'

/** A certificate with its chain, and the names it is for. */
export interface NamedCertificate {
  readonly names: readonly string[]
  readonly certificatePem: string
  readonly privateKeyPem: string
}

/** Certificates by the name that a client asks for: the exact name before a wildcard, which stands for one label. */
export class CertificateStore {
  readonly #listeners: ((first: NamedCertificate) => void)[] = []
  readonly #clientCa: string | undefined
  #byName = new Map<string, SecureContext>()
  #first: NamedCertificate | undefined

  /** `clientCa`: authorities of clients' certificates, which belong to each context. */
  constructor(clientCa?: string) {
    this.#clientCa = clientCa
  }

  /** Takes the place of all before. A pair that cannot be used is left out and reported; it must not cost the others. */
  replace(certificates: readonly NamedCertificate[], onUnusable: (names: readonly string[], error: unknown) => void): void {
    const byName = new Map<string, SecureContext>()
    let first: NamedCertificate | undefined
    for (const certificate of certificates) {
      try {
        const context = createSecureContext({
          cert: certificate.certificatePem,
          key: certificate.privateKeyPem,
          minVersion: 'TLSv1.2',
          ...(this.#clientCa === undefined ? {} : { ca: this.#clientCa }),
        })
        for (const name of certificate.names.map((each) => each.toLowerCase())) if (!byName.has(name)) byName.set(name, context)
        first ??= certificate
      } catch (error) {
        onUnusable(certificate.names, error)
      }
    }
    if (!first) return
    this.#byName = byName
    this.#first = first
    for (const listener of this.#listeners) listener(first)
  }

  find(serverName: string): SecureContext | undefined {
    const name = serverName.toLowerCase()
    return this.#byName.get(name) ?? this.#byName.get(`*${name.slice(name.indexOf('.'))}`)
  }

  get isEmpty(): boolean {
    return this.#first === undefined
  }

  /** Called with the certificate for clients that name no host, now if there is one and at each change. */
  onDefault(listener: (first: NamedCertificate) => void): void {
    this.#listeners.push(listener)
    if (this.#first) listener(this.#first)
  }
}

/** DNS names and addresses of a certificate. */
export function namesOf(certificatePem: string): string[] {
  const { subjectAltName, subject } = new X509Certificate(certificatePem)
  const names = [...(subjectAltName ?? '').matchAll(/(?:DNS|IP Address):([^,\s]+)/g)].map((match) => match[1] ?? '')
  const commonName = /^CN=(.+)$/m.exec(subject)?.[1]
  return names.length > 0 || commonName === undefined ? names : [commonName]
}
