import { X509Certificate } from 'node:crypto'
import { beforeAll, describe, expect, it } from '@jest/globals'
import { execute, sql } from '@bloomery/database'
import { createAuthority, createInstanceKeyAndCsr, type CertificateAuthority } from '@bloomery/pki'
import { withPostgres } from '@bloomery/testing'
import { InstanceCertificates } from './instance-certificates.js'

const postgres = withPostgres()
const GUID = '0f2a0bd0-1111-4222-8333-0123456789ab'
let authority: CertificateAuthority
let certificates: InstanceCertificates
beforeAll(async () => {
  const { pool } = postgres
  authority = await createAuthority()
  certificates = new InstanceCertificates(pool, authority)
  await execute(pool, sql`INSERT INTO organization_quotas (guid, name) VALUES ('quota', 'q')`)
  await execute(pool, sql`INSERT INTO organizations (guid, name, quota_guid) VALUES ('org', 'o', 'quota')`)
  await execute(pool, sql`INSERT INTO spaces (guid, name, organization_guid) VALUES ('space', 's', 'org')`)
  await execute(pool, sql`INSERT INTO apps (guid, name, space_guid) VALUES ('app', 'a', 'space')`)
  await execute(
    pool,
    sql`INSERT INTO actual_instances (process_guid, spec_version, index, presence, app_guid, process_type, spec_guid, instance_guid, cell_id, state,
          state_since, routable, endpoint, memory_mb, disk_mb, lease_token)
        VALUES ('app', 1, 0, 'ordinary', 'app', 'web', 'spec', ${GUID}, 'mine', 'running', now(), true,
          '{"address":"10.255.0.7","hostAddress":"192.0.2.1","ports":[]}', 64, 128, 1)`,
  )
})

describe('certificates of instances', () => {
  it('name the instance, what it belongs to and its address, for a day', async () => {
    const { csrPem } = await createInstanceKeyAndCsr(GUID)
    const { certificatePem, authorityPem } = await certificates.issue('mine', { instanceGuid: GUID, csrPem })
    const certificate = new X509Certificate(certificatePem)
    expect(certificate.verify(new X509Certificate(authorityPem).publicKey)).toBe(true)
    expect(certificate.subject).toBe(`OU=organization:org + OU=space:space + OU=app:app\nCN=${GUID}`)
    expect(certificate.subjectAltName).toBe(`DNS:${GUID}, IP Address:10.255.0.7`)
    const days = (Date.parse(certificate.validTo) - Date.now()) / 86_400_000
    expect(days).toBeGreaterThan(0.9)
    expect(days).toBeLessThan(1.1)
  })

  it.each([
    ['another cell', 'other', GUID],
    ['an instance that is not there', 'mine', 'nobody'],
  ])('are refused to %s', async (_case, cell, instanceGuid) => {
    const { csrPem } = await createInstanceKeyAndCsr(instanceGuid)
    await expect(certificates.issue(cell, { instanceGuid, csrPem })).rejects.toMatchObject({ kind: 'ResourceNotFound' })
  })

  it('have the address that the cell tells until it has reported one', async () => {
    const addressOf = async (instanceGuid: string) => {
      const { csrPem } = await createInstanceKeyAndCsr(instanceGuid)
      const { certificatePem } = await certificates.issue('mine', { instanceGuid, csrPem, address: '10.255.0.9' })
      return new X509Certificate(certificatePem).subjectAltName
    }
    expect(await addressOf(GUID)).toBe(`DNS:${GUID}, IP Address:10.255.0.7`)
    await execute(
      postgres.pool,
      sql`INSERT INTO actual_instances (process_guid, spec_version, index, presence, app_guid, process_type, spec_guid, instance_guid, cell_id,
            state, state_since, routable, memory_mb, disk_mb, lease_token)
          VALUES ('app', 1, 1, 'ordinary', 'app', 'web', 'spec', 'starting', 'mine', 'claimed', now(), false, 64, 128, 1)`,
    )
    expect(await addressOf('starting')).toBe('DNS:starting, IP Address:10.255.0.9')
  })

  it('take the name from the platform, not from the request', async () => {
    const { csrPem } = await createInstanceKeyAndCsr('somebody-else')
    const { certificatePem } = await certificates.issue('mine', { instanceGuid: GUID, csrPem })
    expect(new X509Certificate(certificatePem).subjectAltName).not.toContain('somebody-else')
    await expect(certificates.issue('mine', { instanceGuid: GUID, csrPem: 'no request' })).rejects.toMatchObject({
      kind: 'UnprocessableEntity',
    })
  })
})
