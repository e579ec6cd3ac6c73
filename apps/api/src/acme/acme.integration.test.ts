import { randomBytes, randomUUID, X509Certificate } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { execute, rows, sql } from '@bloomery/database'
import { Keyring } from '@bloomery/secrets'
import { silentLogger } from '@bloomery/telemetry'
import { withPostgres } from '@bloomery/testing'
import { AcmeCertificates } from './acme-certificates.js'
import { AcmeServer } from './acme-server.fixture.js'
import type { OutsideView } from './preflight.js'

const DAY_MS = 86_400_000
const postgres = withPostgres()
const keyring = new Keyring('k', new Map([['k', randomBytes(32)]]))
let server: AcmeServer
let directoryUrl: string
let now = new Date()

/** What of a name can be reached from outside. */
let reachable: (name: string) => readonly ('dns' | 'http' | 'https')[]
/** As routers answer: from the list of challenges. */
const view: OutsideView = {
  addresses: (name) =>
    reachable(name).includes('dns') ? Promise.resolve(['192.0.2.1']) : Promise.reject(new Error('getaddrinfo ENOTFOUND')),
  visit: async (name, token) => {
    if (!reachable(name).includes('http')) throw new Error('connect ECONNREFUSED')
    const shown = await acme('router').challenges()
    return shown.find((each) => each.type === 'http-01' && each.token === token && each.name === name)?.keyAuthorization ?? ''
  },
  shakeHands: async (name) => {
    if (!reachable(name).includes('https')) throw new Error('connect ETIMEDOUT')
    const found = (await acme('router').challenges()).find((each) => each.type === 'tls-alpn-01' && each.name === name)
    if (found?.certificatePem === undefined) throw new Error('no challenge under way')
    expect(found.privateKeyPem).toMatch(/PRIVATE KEY/)
    return new X509Certificate(found.certificatePem).raw
  },
}
const acme = (holder: string, types: readonly ('http-01' | 'tls-alpn-01')[] = ['http-01', 'tls-alpn-01']): AcmeCertificates =>
  new AcmeCertificates({
    pool: postgres.pool,
    keyring,
    options: { directoryUrl, contact: 'ops@bloomery.net', challengeTypes: types },
    holder,
    now: () => now,
    log: silentLogger,
    view,
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
  rows<{ guid: string; names: string[]; pem: string; key: unknown; notAfter: Date }>(
    postgres.pool,
    sql`SELECT guid, names, certificate_pem AS pem, private_key_encrypted AS key, not_after AS "notAfter"
        FROM ingress_certificates WHERE source = 'acme' ORDER BY names`,
  )
const orderOf = async (name: string) =>
  (
    await rows<{ state: string; detail: string | null; attempts: number; wait: number }>(
      postgres.pool,
      sql`SELECT state, detail, attempts, extract(epoch FROM next_attempt_at - ${now})::int AS wait FROM acme_orders
          WHERE names = ARRAY[${name}]`,
    )
  )[0]
const later = (ms: number): void => void (now = new Date(now.getTime() + ms))

beforeAll(async () => {
  server = new AcmeServer(view)
  directoryUrl = await server.listen()
  const { pool } = postgres
  await execute(pool, sql`INSERT INTO organization_quotas (guid, name) VALUES ('quota', 'q')`)
  await execute(pool, sql`INSERT INTO organizations (guid, name, quota_guid) VALUES ('org', 'o', 'quota')`)
  await execute(pool, sql`INSERT INTO spaces (guid, name, organization_guid) VALUES ('space', 's', 'org')`)
  await execute(pool, sql`INSERT INTO apps (guid, name, space_guid) VALUES ('app', 'a', 'space')`)
})
beforeEach(async () => {
  const { pool } = postgres
  reachable = () => ['dns', 'http', 'https']
  for (const table of ['leases', 'routes', 'acme_orders', 'acme_challenges']) await pool.query(`DELETE FROM ${table}`)
  await execute(pool, sql`DELETE FROM ingress_certificates WHERE source = 'acme'`)
  server.asked.splice(0)
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

  it.each([
    ['within the handshake where only port 443 leads here', ['dns', 'https'], ['http-01', 'tls-alpn-01'], 'tls-alpn-01'],
    ['over HTTP where both ports do', ['dns', 'http', 'https'], ['http-01', 'tls-alpn-01'], 'http-01'],
    ['in the order that the operator prefers', ['dns', 'http', 'https'], ['tls-alpn-01', 'http-01'], 'tls-alpn-01'],
  ] as const)('are asked for %s', async (_case, ways, types, expected) => {
    reachable = () => ways
    await aRoute('bloomery.net', 'shop')
    await acme('one', types).pass()
    expect(await orderOf('shop.bloomery.net')).toMatchObject({ state: 'issued', detail: null })
    expect(server.asked).toEqual([expected])
    expect(await acme('one').challenges()).toEqual([])
  })

  it('the key of a proof is not readable in the database', async () => {
    reachable = () => ['dns', 'https']
    await aRoute('bloomery.net', 'shop')
    let stored = ''
    const shakeHands = view.shakeHands
    const spied = Object.assign(view as { shakeHands: OutsideView['shakeHands'] }, {
      shakeHands: async (name: string) => {
        stored += JSON.stringify(await rows(postgres.pool, sql`SELECT * FROM acme_challenges`))
        return shakeHands(name)
      },
    })
    await acme('one').pass()
    spied.shakeHands = shakeHands
    expect(stored).toContain('tls-alpn-01')
    expect(stored).not.toContain('PRIVATE KEY')
  })

  it('are not asked for while the name leads elsewhere; then later and later', async () => {
    await aRoute('elsewhere.net', 'shop')
    reachable = () => ['dns']
    await acme('one').pass()
    expect(await orderOf('shop.elsewhere.net')).toMatchObject({
      state: 'failed',
      attempts: 1,
      wait: 300,
      detail: expect.stringMatching(
        /\(192\.0\.2\.1\) does not lead to this platform \(http-01: connect ECONNREFUSED; tls-alpn-01: connect ETIMEDOUT\): point its DNS/,
      ),
    })
    await acme('one').pass()
    expect((await orderOf('shop.elsewhere.net'))?.attempts).toBe(1)
    later(301_000)
    reachable = () => []
    await acme('one').pass()
    expect(await orderOf('shop.elsewhere.net')).toMatchObject({
      attempts: 2,
      wait: 600,
      detail: expect.stringMatching(/has no address in DNS \(getaddrinfo ENOTFOUND\)/),
    })
    // Nothing was asked of the authority for a name that it could not have reached.
    expect(server.asked).toEqual([])
    later(601_000)
    reachable = () => ['dns', 'http']
    await acme('one').pass()
    expect(await orderOf('shop.elsewhere.net')).toMatchObject({ state: 'issued', detail: null, attempts: 0 })
  })

  it('are renewed in the last third of their life; the old one serves until its successor is there', async () => {
    await aRoute('bloomery.net', 'shop')
    server.lifeDays = 9
    now = new Date()
    await acme('one').pass()
    const [first] = await certificates()
    later(5 * DAY_MS)
    await acme('one').pass()
    expect((await certificates()).map(({ guid }) => guid)).toEqual([first?.guid])

    later(2 * DAY_MS)
    server.isRefusing = true
    await acme('one').pass()
    expect((await certificates()).map(({ guid }) => guid)).toEqual([first?.guid])
    expect(await orderOf('shop.bloomery.net')).toMatchObject({
      state: 'failed',
      attempts: 1,
      detail: expect.stringMatching(/not for this name/),
    })

    server.isRefusing = false
    server.lifeDays = 30
    later(301_000)
    await acme('one').pass()
    const [renewed, ...others] = await certificates()
    expect(others).toEqual([])
    expect(renewed?.guid).not.toBe(first?.guid)
    expect(renewed?.notAfter.getTime()).toBeGreaterThan((first?.notAfter.getTime() ?? 0) + 10 * DAY_MS)
    expect(await orderOf('shop.bloomery.net')).toMatchObject({ state: 'issued', detail: null, attempts: 0 })
  })
})
