import { adminScopes, anOrganization, startTestApi, type TestApi } from '../../testing.fixture.js'

describe('the API as a whole', () => {
  let api: TestApi
  beforeAll(async () => {
    api = await startTestApi()
  })
  afterAll(() => api.close())

  it('names every host under its own name, and one host for all where it is asked under another', async () => {
    const links = async (host: string) => JSON.parse((await api.app.inject({ url: '/', headers: { host } })).payload).links
    expect(await links('api.bloomery.test:8080')).toMatchObject({
      self: { href: 'http://api.bloomery.test:8080' },
      cloud_controller_v3: { href: 'http://api.bloomery.test:8080/v3', meta: { version: '3.215.0' } },
      login: { href: 'http://login.bloomery.test:8080' },
      uaa: { href: 'http://uaa.bloomery.test:8080' },
      log_cache: { href: 'http://log-cache.bloomery.test:8080' },
      network_policy_v1: { href: 'http://api.bloomery.test:8080/networking/v1/external' },
      app_ssh: { href: 'api.bloomery.test:2222', meta: { oauth_client: 'ssh-proxy', host_key_fingerprint: 'none' } },
    })
    expect(await links('localhost:8080')).toMatchObject({
      login: { href: 'http://localhost:8080' },
      log_cache: { href: 'http://localhost:8080' },
    })
  })

  it('leads to every collection that it lists', async () => {
    const admin = await api.caller('admin', adminScopes)
    const { links } = (await admin.get('/v3')).body as { links: Record<string, { href: string }> }
    for (const [name, { href }] of Object.entries(links)) {
      const { status } = await admin.get(new URL(href).pathname)
      // Builds, droplets and the like are lists; the groups have two items and none.
      expect(`${name} ${status}`).toBe(`${name} ${name === 'environment_variable_groups' ? 404 : 200}`)
    }
  })

  it('answers HEAD like GET without a body, and what it does not know in CF’s shape', async () => {
    const { token } = await api.caller('anybody')
    const send = (method: 'HEAD' | 'GET' | 'PATCH' | 'PUT' | 'DELETE', url: string, authorization = `bearer ${token}`) =>
      api.app.inject({ method, url, headers: { authorization } })
    const head = await send('HEAD', '/v3/organizations')
    expect([head.statusCode, head.payload, head.headers['content-type']]).toEqual([200, '', 'application/json; charset=utf-8'])
    expect((await send('HEAD', '/v3/organizations', 'bearer wrong')).statusCode).toBe(401)
    const unknown = { errors: [{ code: 10_000, title: 'CF-NotFound', detail: 'Unknown request' }] }
    for (const [method, url] of [
      ['GET', '/v3/nothing'],
      ['GET', '/v2/info'],
      ['PATCH', '/v3/routes'],
      ['DELETE', '/v3/organizations'],
      ['PUT', '/v3/apps'],
    ] as const) {
      const answer = await send(method, url)
      expect([url, answer.statusCode, JSON.parse(answer.payload)]).toEqual([url, 404, unknown])
      expect(answer.headers['x-vcap-request-id']).toMatch(/./)
    }
    // A path may end in a slash.
    expect((await send('GET', '/v3/organizations/')).statusCode).toBe(200)
  })

  it('tells a missing token from one that is no good', async () => {
    const errors = async (authorization?: string) => {
      const answer = await api.app.inject({ url: '/v3/organizations', headers: authorization ? { authorization } : {} })
      return [answer.statusCode, JSON.parse(answer.payload).errors]
    }
    expect(await errors()).toEqual([401, [{ code: 10_002, title: 'CF-NotAuthenticated', detail: 'Authentication error' }]])
    for (const header of ['bearer nonsense', 'bearer a.b.c', 'Basic Y2Y6', 'bearer '])
      expect(await errors(header)).toEqual([401, [{ code: 1000, title: 'CF-InvalidAuthToken', detail: 'Invalid Auth Token' }]])
  })

  it('takes a body that is no JSON, or none, for what it is', async () => {
    const { developer } = await anOrganization(api)
    const broken = await developer.post('/v3/roles', '{"a":')
    expect([broken.status, broken.body.errors[0].title]).toEqual([400, 'CF-MessageParseError'])
    expect((await developer.post('/v3/roles', '')).status).toBe(422)
    expect((await developer.post('/v3/roles', '[]')).status).toBe(422)
    // The client sends a content type also where there is no body.
    expect((await developer.get('/v3/organizations', { 'content-type': 'application/json' })).status).toBe(200)
  })

  it('sums up what the whole platform uses, for those who may read everything', async () => {
    const admin = await api.caller('admin', adminScopes)
    const { usage_summary: usage } = (await admin.get('/v3/info/usage_summary')).body
    expect(usage).toMatchObject({ started_instances: 0, memory_in_mb: 0, routes: 0, domains: expect.any(Number) })
    expect((await (await api.caller('anybody')).get('/v3/info/usage_summary')).status).toBe(403)
  })
})
