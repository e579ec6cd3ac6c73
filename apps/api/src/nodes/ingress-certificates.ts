import { randomUUID } from 'node:crypto'
import { execute, rows, sql, transaction, type Pool } from '@bloomery/database'
import { ingressNames, isDueForRenewal, issueServerCertificate, type CertificateAuthority } from '@bloomery/pki'
import type { Keyring } from '@bloomery/secrets'
import { notAfterOf } from './authorities.js'

/** A server certificate as routers take it. */
export interface IngressCertificateView {
  readonly names: readonly string[]
  readonly certificatePem: string
  readonly privateKeyPem: string
}
interface Row {
  guid: string
  names: string[]
  certificate_pem: string
  private_key_encrypted: unknown
}

/** Certificates of the public listeners. Those made here are made anew in the last third of their life, and when a domain changes. */
export class IngressCertificates {
  constructor(
    private readonly pool: Pool,
    private readonly keyring: Keyring,
    private readonly authority: CertificateAuthority,
    private readonly domains: { readonly system: string; readonly apps: string },
  ) {}

  /** The operator's own first, then the platform's: the first is for clients that name nothing, and a router takes the first that fits a name. */
  async list(): Promise<IngressCertificateView[]> {
    await this.#ensureOwn()
    const found = await rows<Row>(
      this.pool,
      sql`SELECT guid, names, certificate_pem, private_key_encrypted FROM ingress_certificates WHERE not_after > now()
          ORDER BY (source = 'operator') DESC, (source = 'acme') ASC, created_at DESC`,
    )
    return found.map((row) => ({
      names: row.names,
      certificatePem: row.certificate_pem,
      privateKeyPem: this.keyring.decrypt(row.private_key_encrypted, `ingress_certificate:${row.guid}`),
    }))
  }

  async #ensureOwn(): Promise<void> {
    const names = ingressNames(this.domains)
    await transaction(this.pool, async (tx) => {
      await tx.query(`SELECT pg_advisory_xact_lock(hashtextextended('bloomery:ingress-certificates', 0))`)
      const own = await rows<Row>(tx, sql`SELECT * FROM ingress_certificates WHERE source = 'authority' ORDER BY created_at DESC`)
      const good = own.find((row) => sameNames(row.names, names) && !isDueForRenewal(row.certificate_pem))
      if (good) return
      const { certificatePem, privateKeyPem } = await issueServerCertificate(this.authority, names)
      const guid = randomUUID()
      await execute(tx, sql`DELETE FROM ingress_certificates WHERE source = 'authority'`)
      await execute(
        tx,
        sql`INSERT INTO ingress_certificates (guid, names, certificate_pem, private_key_encrypted, source, not_after)
            VALUES (${guid}, ${names}, ${`${certificatePem}${this.authority.certificatePem}`},
              ${JSON.stringify(this.keyring.encrypt(privateKeyPem, `ingress_certificate:${guid}`))}, 'authority', ${notAfterOf(certificatePem)})`,
      )
    })
  }
}

const sameNames = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((name) => b.includes(name))
