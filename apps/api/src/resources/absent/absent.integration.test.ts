import { adminScopes, startTestApi, type TestApi } from '../../testing.fixture.js'

describe('what the platform has none of', () => {
  let api: TestApi
  beforeAll(async () => {
    api = await startTestApi()
  })
  afterAll(() => api.close())

  it.each([
    [
      '/v3/service_plans?include=service_offering&fields%5Bservice_offering.service_broker%5D=name%2Cguid&available=true&per_page=5000',
    ],
    ['/v3/service_plans?include=space.organization&service_offering_names=a&service_broker_names=b&organization_guids=c'],
    ['/v3/service_offerings?names=x&page=1&per_page=2&fields%5Bservice_broker%5D=name%2Cguid'],
    ['/v3/service_brokers?names=x&page=1&per_page=1'],
    ['/v3/service_route_bindings?include=service_instance&route_guids=a,b'],
    ['/v3/security_groups?globally_enabled_running=true'],
    ['/v3/isolation_segments?organization_guids=x'],
  ])('%s is an empty list', async (url) => {
    const caller = await api.caller('anybody')
    expect((await caller.get(url)).body).toMatchObject({ resources: [], pagination: { total_results: 0, next: null } })
    expect((await caller.get(`${url}&colour=red`)).status).toBe(400)
    expect((await caller.get(`${url.split('?')[0]}/x`)).body.errors[0].title).toBe('CF-ResourceNotFound')
  })

  it('opens the marketplace to whoever has not logged in, unless an operator closes it', async () => {
    const status = async () => (await api.app.inject('/v3/service_plans')).statusCode
    expect(await status()).toBe(200)
    const admin = await api.caller('admin', adminScopes)
    await admin.patch('/v3/feature_flags/hide_marketplace_from_unauthenticated_users', { enabled: true })
    expect(await status()).toBe(401)
    expect((await admin.get('/v3/service_plans')).status).toBe(200)
  })

  it('answers the network policy API in its own form', async () => {
    const caller = await api.caller('anybody')
    expect((await caller.get('/networking/v1/external/policies?id=a,b')).body).toEqual({ total_policies: 0, policies: [] })
  })
})
