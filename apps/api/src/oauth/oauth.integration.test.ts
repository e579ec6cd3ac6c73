import { randomUUID } from 'node:crypto'
import { decodeJwt } from 'jose'
import { startTestApi, type TestApi } from '../testing.fixture.js'
import { hashPassword } from './passwords.js'
import { ADMIN_SCOPES, CF_CLIENT_SCOPES } from './scopes.js'

const BASIC_CF = `Basic ${Buffer.from('cf:').toString('base64')}`

describe('tokens and the user directory', () => {
  let api: TestApi
  let adminToken: string
  beforeAll(async () => {
    api = await startTestApi()
    await api.context.db.oauthClient.create({
      data: {
        clientId: 'cf',
        grantTypes: ['password', 'refresh_token'],
        scopes: [...CF_CLIENT_SCOPES],
        accessTokenSeconds: 600,
        refreshTokenSeconds: 3600,
      },
    })
    await aUser('boss', { scopes: [...ADMIN_SCOPES] })
    adminToken = String((await logIn('boss')).body['access_token'])
  })
  afterAll(() => api.close())

  const aUser = async (username: string, more: object = {}) =>
    api.context.db.user.create({
      data: { guid: randomUUID(), username, passwordHash: await hashPassword('secret'), registered: true, ...more },
    })
  const form = async (url: string, fields: Record<string, string>, authorization: string | undefined = BASIC_CF) => {
    const response = await api.app.inject({
      method: 'POST',
      url,
      headers: { 'content-type': 'application/x-www-form-urlencoded', ...(authorization ? { authorization } : {}) },
      payload: new URLSearchParams(fields).toString(),
    })
    return { status: response.statusCode, body: response.json<Record<string, unknown>>() }
  }
  const logIn = (username: string, password = 'secret') => form('/oauth/token', { grant_type: 'password', username, password })
  const refresh = (token: unknown) => form('/oauth/token', { grant_type: 'refresh_token', refresh_token: String(token) })
  const call = async (method: 'GET' | 'POST' | 'PUT' | 'DELETE', url: string, token: unknown, payload?: object) => {
    const response = await api.app.inject({
      method,
      url,
      headers: { authorization: `bearer ${String(token)}` },
      ...(payload ? { payload } : {}),
    })
    const body: unknown = response.payload === '' ? undefined : response.json()
    return { status: response.statusCode, body }
  }

  it('logs in with what the client reads in its token', async () => {
    const user = await aUser('reader')
    const { status, body } = await logIn('READER')
    expect([status, body['token_type']]).toEqual([200, 'bearer'])
    expect(decodeJwt(String(body['access_token']))).toMatchObject({
      user_name: 'reader',
      user_id: user.guid,
      sub: user.guid,
      origin: 'uaa',
      revocable: true,
      jti: body['jti'],
      client_id: 'cf',
      iss: 'http://uaa.bloomery.test:8080/oauth/token',
      exp: expect.any(Number),
    })
    expect(String(body['scope'])).not.toContain('cloud_controller.admin')
    expect((await call('GET', '/v3/organizations', body['access_token'])).status).toBe(200)
  })

  it('refuses wrong credentials, unknown users and clients in the same words', async () => {
    const refused = { status: 401, body: { error: 'unauthorized', error_description: 'Bad credentials' } }
    expect(await logIn('boss', 'wrong')).toEqual(refused)
    expect(await logIn('nobody', 'wrong')).toEqual(refused)
    expect(
      await form('/oauth/token?login_hint=%7B%22origin%22%3A%22ldap%22%7D', {
        grant_type: 'password',
        username: 'boss',
        password: 'secret',
      }),
    ).toEqual(refused)
    const wrongClient = `Basic ${Buffer.from('cf:x').toString('base64')}`
    expect(await form('/oauth/token', { grant_type: 'password' }, wrongClient)).toMatchObject({
      status: 401,
      body: { error: 'invalid_client' },
    })
    expect(
      await form('/oauth/token', { grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion: 'x' }),
    ).toMatchObject({
      status: 401,
      body: { error: 'unauthorized', error_description: expect.stringContaining('assertions') },
    })
  })

  it('locks an account after five failures, and opens it when the time is over', async () => {
    const user = await aUser('locked')
    await Promise.all([1, 2, 3, 4].map(() => logIn('locked', 'wrong')))
    const locked = 'Your account has been locked because of too many failed attempts to login.'
    expect((await logIn('locked', 'wrong')).body['error_description']).toBe(locked)
    expect((await logIn('locked')).body['error_description']).toBe(locked)
    await api.context.db.user.update({ where: { guid: user.guid }, data: { lockedUntil: new Date(Date.now() - 1000) } })
    expect((await logIn('locked')).status).toBe(200)
  })

  it('refreshes with the same refresh token, as often as it is sent, until it is revoked', async () => {
    await aUser('fresh')
    const { body } = await logIn('fresh')
    const [first, second] = await Promise.all([refresh(body['refresh_token']), refresh(body['refresh_token'])])
    expect([first.body['refresh_token'], second.body['refresh_token']]).toEqual([body['refresh_token'], body['refresh_token']])
    expect(first.body['token_type']).toBe('bearer')
    const { jti } = decodeJwt(String(body['refresh_token']))
    expect((await call('DELETE', `/oauth/token/revoke/${jti}`, body['access_token'])).status).toBe(200)
    expect(await refresh(body['refresh_token'])).toMatchObject({ status: 401, body: { error: 'invalid_token' } })
    expect(await refresh('nonsense')).toMatchObject({ status: 401, body: { error: 'invalid_token' } })
    expect(await refresh(body['access_token'])).toMatchObject({ status: 401, body: { error: 'invalid_token' } })
  })

  it('takes no token that is revoked, expired, changed or of a user that is gone', async () => {
    const user = await aUser('gone')
    const { body } = await logIn('gone')
    const token = String(body['access_token'])
    expect((await call('GET', '/v3/spaces', token)).status).toBe(200)
    const invalid = {
      status: 401,
      body: { errors: [{ code: 1000, title: 'CF-InvalidAuthToken', detail: 'Invalid Auth Token' }] },
    }
    expect(await call('GET', '/v3/spaces', `${token.slice(0, -4)}AAAA`)).toEqual(invalid)
    const subject = {
      user: { ...user, username: 'gone' },
      clientId: 'cf',
      scopes: ['cloud_controller.read'],
      grantType: 'password',
    }
    expect(await call('GET', '/v3/spaces', (await api.tokens.issueAccessToken(subject, -10)).token)).toEqual(invalid)
    expect((await call('DELETE', `/oauth/token/revoke/${String(body['jti'])}`, token)).status).toBe(200)
    expect(await call('GET', '/v3/spaces', token)).toEqual(invalid)
    const other = String((await logIn('gone')).body['access_token'])
    expect((await call('GET', '/v3/spaces', other)).status).toBe(200)
    expect((await call('DELETE', `/Users/${user.guid}`, adminToken)).status).toBe(200)
    expect(await call('GET', '/v3/spaces', other)).toEqual(invalid)
    expect(await call('GET', '/Users', other)).toMatchObject({ status: 401, body: { error: 'invalid_token' } })
    const anonymous = await api.app.inject({ url: '/v3/spaces' })
    expect(anonymous.json()).toMatchObject({ errors: [{ code: 10002, title: 'CF-NotAuthenticated' }] })
  })

  it('may only revoke one’s own tokens', async () => {
    await aUser('thief')
    const victim = await logIn('boss')
    const { body } = await logIn('thief')
    expect((await call('DELETE', `/oauth/token/revoke/${String(victim.body['jti'])}`, body['access_token'])).status).toBe(403)
  })

  it('rotates its signing keys; what the old one signed stays good', async () => {
    const { body } = await logIn('boss')
    const before = (await api.app.inject({ url: '/token_keys' })).json<{ keys: { kid: string; d?: string }[] }>()
    await api.context.db.signingKey.updateMany({ data: { createdAt: new Date(Date.now() - 40 * 86_400_000) } })
    await api.keys.rotate()
    const after = (await api.app.inject({ url: '/token_keys' })).json<{ keys: { kid: string; d?: string }[] }>()
    expect(after.keys).toHaveLength(before.keys.length + 1)
    expect(after.keys.every((key) => key.d === undefined)).toBe(true)
    expect((await call('GET', '/v3/spaces', body['access_token'])).status).toBe(200)
    expect((await refresh(body['refresh_token'])).status).toBe(200)
  })

  it('creates, finds, and deletes users', async () => {
    const input = {
      userName: 'new@example.com',
      password: 'pw',
      origin: '',
      name: { familyName: 'n', givenName: 'n' },
      emails: [{ value: 'n', primary: true }],
    }
    const made = await call('POST', '/Users', adminToken, input)
    expect(made).toMatchObject({ status: 201, body: { userName: 'new@example.com', origin: 'uaa' } })
    expect(await call('POST', '/Users', adminToken, { ...input, userName: 'NEW@example.com' })).toMatchObject({ status: 409 })
    expect(await call('POST', '/Users', adminToken, { ...input, userName: 'a b' })).toMatchObject({
      status: 400,
      body: { error: 'invalid_scim_resource' },
    })
    const filter = encodeURIComponent('userName eq "new@example.com" and origin eq "uaa"')
    const found = await call('GET', `/Users?filter=${filter}`, adminToken)
    expect(found.body).toMatchObject({ totalResults: 1, resources: [{ userName: 'new@example.com', origin: 'uaa' }] })
    expect((await call('GET', `/Users?filter=${encodeURIComponent('password eq "x"')}`, adminToken)).status).toBe(400)
    const ordinary = (await logIn('new@example.com', 'pw')).body['access_token']
    expect(await call('POST', '/Users', ordinary, input)).toMatchObject({ status: 403, body: { error: 'insufficient_scope' } })
    const { id } = made.body as { id: string }
    expect(await call('DELETE', `/Users/${id}`, adminToken)).toMatchObject({ status: 200, body: { id, origin: 'uaa' } })
    expect((await call('DELETE', `/Users/${id}`, adminToken)).status).toBe(404)
  })

  it('changes one’s own password with the old one, and ends what was logged in with it', async () => {
    const user = await aUser('changer')
    const { body } = await logIn('changer')
    const change = (input: object) => call('PUT', `/Users/${user.guid}/password`, body['access_token'], input)
    expect(await change({ oldPassword: 'wrong', password: 'new' })).toMatchObject({ status: 401 })
    expect(await change({ oldPassword: 'secret', password: 'secret' })).toMatchObject({
      status: 422,
      body: { error: 'invalid_password' },
    })
    expect(await change({ oldPassword: 'secret', password: 'new' })).toMatchObject({ status: 200 })
    expect((await logIn('changer')).status).toBe(401)
    expect((await logIn('changer', 'new')).status).toBe(200)
    expect((await refresh(body['refresh_token'])).status).toBe(401)
  })

  it('serves service accounts', async () => {
    const client = {
      client_id: 'robot',
      client_secret: 's3',
      authorized_grant_types: ['client_credentials'],
      authorities: ['cloud_controller.read'],
    }
    expect((await call('POST', '/oauth/clients', adminToken, client)).status).toBe(201)
    expect((await call('POST', '/oauth/clients', adminToken, client)).status).toBe(409)
    expect((await call('GET', '/oauth/clients/nope', adminToken)).status).toBe(404)
    expect(JSON.stringify((await call('GET', '/oauth/clients/robot', adminToken)).body)).not.toContain('argon2')
    const credentials = { grant_type: 'client_credentials', client_id: 'robot', client_secret: 's3' }
    const { body } = await form('/oauth/token', credentials, '')
    const claims = decodeJwt(String(body['access_token']))
    expect([claims['client_id'], claims['user_name'], body['refresh_token']]).toEqual(['robot', undefined, undefined])
    expect((await call('GET', '/v3/organizations', body['access_token'])).status).toBe(200)
    expect(await form('/oauth/token', { ...credentials, client_secret: 'x' }, '')).toMatchObject({
      status: 401,
      body: { error: 'invalid_client' },
    })
    const basic = `Basic ${Buffer.from('robot:s3').toString('base64')}`
    expect((await form('/check_token', { token: adminToken }, basic)).body).toMatchObject({ user_name: 'boss' })
    expect((await form('/check_token', { token: adminToken })).status).toBe(403)
    await call('DELETE', '/oauth/clients/robot', adminToken)
    expect((await form('/oauth/token', credentials, '')).status).toBe(401)
  })

  it('tells the client what to ask for, and that there is no ssh', async () => {
    const login = (await api.app.inject({ url: '/login', headers: { accept: 'application/json' } })).json<{ prompts: object }>()
    expect(login.prompts).toMatchObject({ username: ['text', 'Email'], password: ['password', 'Password'] })
    expect(await call('GET', '/oauth/authorize?client_id=ssh-proxy&response_type=code', adminToken)).toMatchObject({
      // The status at which the client shows the words alone.
      status: 409,
      body: { error: 'unsupported_client', error_description: expect.stringContaining('does not offer ssh yet') },
    })
  })
})
