import { randomUUID } from 'node:crypto'
import { decodeJwt } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createInstance, openPlans, registerBroker, ScriptedBroker } from '../service-operations/registered-broker.fixture.js'
import { anOrganization, startTestApi, type TestApi } from '../testing.fixture.js'
import { Browser, FakeDashboard } from './dashboard.fixture.js'
import { hashPassword } from './passwords.js'

describe("single sign-on for a broker's dashboard", () => {
  let api: TestApi
  let broker: ScriptedBroker
  let dashboard: FakeDashboard
  let platform = ''
  let instance = ''
  let brokerGuid = ''
  let place: Awaited<ReturnType<typeof anOrganization>>
  beforeAll(async () => {
    ;[api, broker] = await Promise.all([startTestApi(), ScriptedBroker.start()])
    platform = await api.app.listen({ host: '127.0.0.1', port: 0 })
    dashboard = new FakeDashboard(() => platform)
    await dashboard.start()
    place = await anOrganization(api)
    catalog(dashboard.redirectUri)
    const registered = await registerBroker(place.admin, broker, { name: `<b>${randomUUID()}` })
    expect(registered.job.state).toBe('COMPLETE')
    brokerGuid = registered.guid
    const plans = await openPlans(place.admin, registered.name)
    const name = `db-${randomUUID()}`
    await place.developer.job(await createInstance(place.developer, place.space.guid, plans['small'], { name }))
    instance = (await place.developer.get(`/v3/service_instances?names=${name}`)).body.resources[0].guid
  }, 60_000)
  afterAll(async () => {
    dashboard.stop()
    await api.close()
    await broker.stop()
  })

  function catalog(redirectUri: string): void {
    const [db, plain] = (broker.catalog as { services: object[] }).services
    const client = { id: dashboard.clientId, secret: dashboard.clientSecret, redirect_uri: redirectUri }
    broker.catalog = { services: [{ ...db, dashboard_client: client }, plain] }
  }
  /** Somebody with a password, and the rights of a caller of tests. */
  const withPassword = async (guid: string, username: string): Promise<void> => {
    await api.context.db.user.update({ where: { guid }, data: { username, passwordHash: await hashPassword('secret') } })
  }
  const developer = async () => {
    const username = `dev-${randomUUID().slice(0, 8)}`
    await withPassword(place.developer.guid, username)
    return username
  }
  const forget = () => api.context.db.oauthApproval.deleteMany()
  const signedIn = async (username: string, more: Readonly<Record<string, string>> = {}) => {
    const browser = new Browser()
    const login = await browser.go(dashboard.authorizeUrl(instance, more))
    return { browser, login, consent: await browser.submit(login, { username, password: 'secret' }) }
  }
  /** The code that the platform gives for a visit, instead of following it to the dashboard. */
  const codeFor = async (username: string, more: Readonly<Record<string, string>> = {}): Promise<string> => {
    const { browser } = await signedIn(username, more)
    await api.context.db.oauthApproval.upsert({
      where: { userGuid_clientId: { userGuid: place.developer.guid, clientId: dashboard.clientId } },
      create: {
        userGuid: place.developer.guid,
        clientId: dashboard.clientId,
        scopes: ['openid', 'cloud_controller_service_permissions.read'],
      },
      update: { scopes: ['openid', 'cloud_controller_service_permissions.read'] },
    })
    const answer = await browser.hop(dashboard.authorizeUrl(instance, more))
    return new URL(answer.headers.get('location') ?? '').searchParams.get('code') ?? ''
  }

  it('signs a user in, asks once what the dashboard may see, and tells it what the user may do', async () => {
    await forget()
    const username = await developer()
    const { browser, login, consent } = await signedIn(username)
    expect(login.html).toContain('wants to know who you are')
    // The broker's name is its own; no page believes it.
    expect(login.html).toContain('&#60;b&#62;')
    expect(login.headers.get('content-security-policy')).toMatch(
      /default-src 'none'; style-src 'sha256-[^']+'; form-action 'self' .*; frame-ancestors 'none'/,
    )
    expect(consent.html).toMatch(/Allow access\?[^]*see your user name[^]*manage its service instances/)
    const welcome = await browser.submit(consent, { act: 'allow' })
    expect([welcome.status, welcome.html]).toEqual([200, 'welcome'])
    expect(dashboard.visitor).toMatchObject({
      info: { user_id: place.developer.guid, sub: place.developer.guid, user_name: username },
      permissions: { manage: true, read: true },
    })
    expect(decodeJwt(dashboard.visitor?.idToken ?? '')).toMatchObject({
      sub: place.developer.guid,
      aud: dashboard.clientId,
      nonce: 'n-1',
    })
    expect(dashboard.exchanged?.body).toMatchObject({
      token_type: 'bearer',
      scope: 'openid cloud_controller_service_permissions.read',
    })
    // The next time nobody is asked anything.
    expect((await browser.go(dashboard.authorizeUrl(instance))).html).toBe('welcome')
    // Until the browser is signed out.
    await browser.go(`${platform}/logout.do`)
    expect((await browser.go(dashboard.authorizeUrl(instance))).html).toContain('Password')
  })

  it('gives a token that opens nothing else', async () => {
    const { body } = await dashboard.exchange(await codeFor(await developer(), { code_challenge: CHALLENGE }), {
      code_verifier: VERIFIER,
    })
    const ask = async (path: string, method = 'GET') =>
      (await fetch(`${platform}${path}`, { method, headers: { authorization: `bearer ${String(body['access_token'])}` } })).status
    expect(await ask(`/v3/service_instances/${instance}/permissions`)).toBe(200)
    for (const path of [
      '/v3/service_instances',
      `/v3/service_instances/${instance}`,
      '/v3/apps',
      '/v3/organizations',
      '/v3/users',
      '/Users',
      '/v3/service_offerings',
    ])
      expect([path, await ask(path)]).toEqual([path, 403])
    expect(await ask(`/v3/service_instances/${instance}`, 'DELETE')).toBe(403)
    // What tells who somebody is opens nothing at all.
    const idToken = String(body['id_token'])
    expect((await fetch(`${platform}/userinfo`, { headers: { authorization: `bearer ${idToken}` } })).status).toBe(401)
  })

  it('says what others may do, and nothing of what is not there', async () => {
    const ask = async (caller: typeof place.developer, guid = instance) =>
      (await caller.get(`/v3/service_instances/${guid}/permissions`)).body
    expect(await ask(place.auditor)).toEqual({ manage: false, read: true })
    expect(await ask(place.stranger)).toEqual({ manage: false, read: false })
    expect((await ask(place.developer, randomUUID())).errors[0].code).toBe(10010)
  })

  it.each<[string, (code: string) => Promise<{ status: number; body: Record<string, unknown> }>]>([
    [
      'a second time',
      async (code) =>
        dashboard.exchange(code, { code_verifier: VERIFIER }).then(() => dashboard.exchange(code, { code_verifier: VERIFIER })),
    ],
    ['without the verifier', (code) => dashboard.exchange(code)],
    ['with another verifier', (code) => dashboard.exchange(code, { code_verifier: 'x'.repeat(43) })],
    [
      'for another address',
      (code) => dashboard.exchange(code, { code_verifier: VERIFIER, redirect_uri: `${dashboard.redirectUri}/` }),
    ],
    [
      'after a minute',
      async (code) => {
        await api.context.db.authorizationCode.updateMany({ data: { expiresAt: new Date(Date.now() - 1) } })
        return dashboard.exchange(code, { code_verifier: VERIFIER })
      },
    ],
  ])('takes no code %s', async (_how, exchange) => {
    const code = await codeFor(await developer(), { code_challenge: CHALLENGE })
    expect(await exchange(code)).toMatchObject({ status: 400, body: { error: 'invalid_grant' } })
    // One that was tried in vain is gone.
    expect((await dashboard.exchange(code, { code_verifier: VERIFIER })).status).toBe(400)
  })

  it('takes no code from another client', async () => {
    const code = await codeFor(await developer(), { code_challenge: CHALLENGE })
    await api.context.db.oauthClient.create({
      data: {
        ...{ clientId: 'other', secretHash: await hashPassword('s'), grantTypes: ['authorization_code'], scopes: ['openid'] },
        ...{ accessTokenSeconds: 60, redirectUris: [dashboard.redirectUri] },
      },
    })
    const response = await fetch(`${platform}/oauth/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from('other:s').toString('base64')}` },
      body: new URLSearchParams({
        grant_type: 'authorization_code',
        code,
        code_verifier: VERIFIER,
        redirect_uri: dashboard.redirectUri,
      }),
    })
    expect(response.status).toBe(400)
  })

  it.each<[string, Record<string, string>]>([
    ['to an unknown client', { client_id: 'nobody' }],
    ['to the client that logs in with passwords', { client_id: 'cf' }],
    ['to an address that is not registered', { redirect_uri: 'http://evil.example.com/' }],
    ['to an address that only begins like one', { redirect_uri: 'PREFIX' }],
  ])('sends nobody %s', async (_name, more) => {
    const prefixed = more['redirect_uri'] === 'PREFIX' ? { redirect_uri: `${dashboard.redirectUri}/../elsewhere` } : more
    const page = await new Browser().hop(dashboard.authorizeUrl(instance, prefixed))
    expect([page.status, page.headers.get('location')]).toEqual([400, null])
    expect(await page.text()).toContain('This does not work')
  })

  it.each<[string, Record<string, string>, string]>([
    ['another kind of answer', { response_type: 'token' }, 'unsupported_response_type'],
    ['more than the client may have', { scope: 'openid cloud_controller.admin' }, 'invalid_scope'],
    ['a challenge in the clear', { code_challenge_method: 'plain' }, 'invalid_request'],
    ['silence of who is not signed in', { prompt: 'none' }, 'login_required'],
  ])('tells the client that it cannot have %s', async (_name, more, error) => {
    const { headers } = await new Browser().hop(dashboard.authorizeUrl(instance, more))
    const back = new URL(headers.get('location') ?? '')
    expect([back.origin, back.searchParams.get('error'), back.searchParams.get('state')?.split('.')[0]]).toEqual([
      dashboard.url,
      error,
      instance,
    ])
  })

  it('believes neither wrong passwords nor forms of other sites, and takes a no for an answer', async () => {
    await forget()
    const username = await developer()
    const browser = new Browser()
    const login = await browser.go(dashboard.authorizeUrl(instance))
    const wrong = await browser.submit(login, { username, password: '"><script>' })
    expect([wrong.status, wrong.html]).toEqual([401, expect.stringContaining('User name or password is wrong.')])
    expect(wrong.html).not.toContain('<script>')
    for (const origin of ['https://evil.example.com', 'null'])
      expect((await browser.submit(login, { username, password: 'secret' }, { origin })).status).toBe(400)
    expect((await browser.submit(login, { username, password: 'no' }, { origin: platform })).status).toBe(401)
    const consent = await browser.submit(wrong, { username, password: 'secret' })
    expect(consent.html).toContain('Allow access?')
    // Without what stands in the session's own page it is only another way to the login.
    expect((await browser.submit(consent, { act: 'allow', form_token: 'guessed' })).html).toContain('Password')
    expect((await browser.submit(consent, { act: 'deny' })).html).toBe('access_denied')
  })

  it('ends with a new password, and with the client', async () => {
    const username = await developer()
    const { browser } = await signedIn(username)
    await api.tokens.revokeUser(place.developer.guid)
    expect((await browser.go(dashboard.authorizeUrl(instance))).html).toContain('Password')
    catalog('https://dashboard.example.com/elsewhere')
    await place.admin.job(await place.admin.patch(`/v3/service_brokers/${brokerGuid}`, { url: broker.url }))
    const { status, html } = await new Browser().go(dashboard.authorizeUrl(instance))
    expect([status, html]).toEqual([400, expect.stringContaining('redirect_uri is not one')])
    broker.catalog = {
      services: (broker.catalog as { services: { dashboard_client?: object }[] }).services.map(
        ({ dashboard_client: _, ...rest }) => rest,
      ),
    }
    await place.admin.job(await place.admin.patch(`/v3/service_brokers/${brokerGuid}`, { url: broker.url }))
    expect((await new Browser().go(dashboard.authorizeUrl(instance))).html).toContain('There is no client')
    expect((await dashboard.exchange('any')).status).toBe(401)
  })
})

/** RFC 7636, appendix B. */
const VERIFIER = 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk'
const CHALLENGE = 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM'
