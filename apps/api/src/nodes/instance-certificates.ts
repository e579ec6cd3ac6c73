import { rows, sql, type Pool } from '@bloomery/database'
import { CfError, type InstanceCertificateAnswer, type InstanceCertificateRequest } from '@bloomery/contracts'
import { issueInstanceCertificate, PkiError, type CertificateAuthority } from '@bloomery/pki'

/** Certificates that say which instance somebody is. A cell gets them for what is placed on it, and for nothing else. */
export class InstanceCertificates {
  constructor(
    private readonly pool: Pool,
    private readonly authority: CertificateAuthority,
  ) {}

  get authorityPem(): string {
    return this.authority.certificatePem
  }

  async issue(cellId: string, { instanceGuid, csrPem, address }: InstanceCertificateRequest): Promise<InstanceCertificateAnswer> {
    const [found] = await rows<{ appGuid: string; spaceGuid: string; organizationGuid: string; address: string | null }>(
      this.pool,
      sql`SELECT n.app_guid AS "appGuid", a.space_guid AS "spaceGuid", s.organization_guid AS "organizationGuid",
            n.endpoint->>'address' AS address
          FROM actual_instances n JOIN apps a ON a.guid = n.app_guid JOIN spaces s ON s.guid = a.space_guid
          WHERE n.instance_guid = ${instanceGuid} AND n.cell_id = ${cellId} LIMIT 1`,
    )
    if (!found) throw new CfError('ResourceNotFound', `No instance '${instanceGuid}' is placed on cell '${cellId}'.`)
    try {
      const certificatePem = await issueInstanceCertificate(this.authority, csrPem, {
        instanceGuid,
        units: [`organization:${found.organizationGuid}`, `space:${found.spaceGuid}`, `app:${found.appGuid}`],
        addresses: [found.address ?? address].filter((each) => each !== undefined),
      })
      return { certificatePem, authorityPem: this.authority.certificatePem }
    } catch (error) {
      throw error instanceof PkiError ? new CfError('UnprocessableEntity', error.message, { cause: error }) : error
    }
  }
}
