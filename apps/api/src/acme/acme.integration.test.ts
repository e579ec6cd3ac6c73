import { randomBytes, randomUUID, X509Certificate } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { execute, rows, sql } from '@bloomery/database'
import { Keyring } from '@bloomery/secrets'
import { silentLogger } from '@bloomery/telemetry'
import { withPostgres } from '@bloomery/testing'
import { AcmeCertificates } from './acme-certificates.js'
import { AcmeServer } from './acme-server.fixture.js'

const postgres = withPostgres()
const keyring = new Keyring('k', new Map([['k', randomBytes(32)]]))
let server: AcmeServer
let directoryUrl: string
let reachable: (name: string) => boolean = () => true
let now = new Date()

/** As routers answer: from the list of challenges. */
const visit = async (name: string, token: string): Promise<string> => {
  if (!reachable(name)) throw new Error('getaddrinfo ENOTFOUND')
  const found = (await acme('router').challenges()).find((each) => each.token === token && each.name === name)
  return found?.keyAuthorization ?? ''
}
const acme = (holder: string): AcmeCertificates =>
  new AcmeCertificates({
    pool: postgres.pool,
    keyring,
    options: { directoryUrl, contact: 'ops@bloomery.net' },
    holder,
    now: () => now,
    log: silentLogger,
    visit,
    patienceMs: 200,
  })

async function aRoute(domain: string, host: string, mapped = true): Promise<void> {
  const { pool } = postgres
  const guid = randomUUID()
  await execute(pool, sql`INSERT INTO domains (guid, name) VALUES (${domain}, ${domain}) ON CONFLICT DO NOTHING`)
  await execute(pool, sql`INSERT INTO routes (guid, host, domain_guid, space_guid) VALUES (${guid}, ${host}, ${domain}, 'space')`)
  if (mapped)
    await execute(pool, sql`INSERT INTO route_destinations (guid, route_guid, app_guid) VALUES (${randomUUID()}, ${guid}, 'app')`)
}
const certificates = () =>
  rows<{ guid: string; names: string[]; pem: string; key: unknown }>(
    postgres.pool,
    sql`SELECT guid, names, certificate_pem AS pem, private_key_encrypted AS key FROM ingress_certificates WHERE source = 'acme' ORDER BY names`,
  )

beforeAll(async () => {
  server = new AcmeServer(visit)
  directoryUrl = await server.listen()
  const { pool } = postgres
  await execute(pool, sql`INSERT INTO organization_quotas (guid, name) VALUES ('quota', 'q')`)
  await execute(pool, sql`INSERT INTO organizations (guid, name, quota_guid) VALUES ('org', 'o', 'quota')`)
  await execute(pool, sql`INSERT INTO spaces (guid, name, organization_guid) VALUES ('space', 's', 'org')`)
  await execute(pool, sql`INSERT INTO apps (guid, name, space_guid) VALUES ('app', 'a', 'space')`)
})
afterAll(() => server.close())

describe('certificates of a public authority', () => {
  it('are obtained for names of routes that lead somewhere, once, by one process at a time', async () => {
    await aRoute('bloomery.net', 'shop')
    await aRoute('bloomery.net', 'unmapped', false)
    await aRoute('bloomery.net', '*')
    await aRoute('apps.localhost', 'shop')
    await Promise.all([acme('one').pass(), acme('two').pass()])
    const [found, ...others] = await certificates()
    expect(others).toEqual([])
    expect(found?.names).toEqual(['shop.bloomery.net'])
    const leaf = new X509Certificate(found?.pem ?? '')
    expect(leaf.checkHost('shop.bloomery.net')).toBe('shop.bloomery.net')
    const key = keyring.decrypt(found?.key, `ingress_certificate:${found?.guid ?? ''}`)
    expect(key).toMatch(/PRIVATE KEY/)
    expect(JSON.stringify(found?.key)).not.toContain('PRIVATE')
    expect(await acme('one').challenges()).toEqual([])
    await acme('one').pass()
    await acme('two').pass()
    expect(server.issued).toEqual(['shop.bloomery.net'])
    expect(server.accounts.size).toBe(1)
  })

  it('are not asked for while the name leads elsewhere; then later and later', async () => {
    const { pool } = postgres
    await execute(pool, sql`UPDATE leases SET expires_at = now() - interval '1 hour'`)
    await aRoute('elsewhere.net', 'shop')
    reachable = (name) => !name.endsWith('elsewhere.net')
    const order = async () =>
      (
        await rows<{ state: string; detail: string; attempts: number; wait: number }>(
          pool,
          sql`SELECT state, detail, attempts, extract(epoch FROM next_attempt_at - ${now})::int AS wait FROM acme_orders
              WHERE names = ARRAY['shop.elsewhere.net']`,
        )
      )[0]
    await acme('one').pass()
    expect(await order()).toMatchObject({
      state: 'failed',
      attempts: 1,
      wait: 300,
      detail: expect.stringMatching(/point its DNS at the routers/),
    })
    await acme('one').pass()
    expect((await order())?.attempts).toBe(1)
    now = new Date(now.getTime() + 301_000)
    await acme('one').pass()
    expect(await order()).toMatchObject({ attempts: 2, wait: 600 })
    reachable = () => true
    now = new Date(now.getTime() + 601_000)
    await acme('one').pass()
    expect(await order()).toMatchObject({ state: 'issued', detail: null, attempts: 0 })
    expect((await certificates()).map(({ names }) => names[0])).toEqual(['shop.bloomery.net', 'shop.elsewhere.net'])
  })
})
