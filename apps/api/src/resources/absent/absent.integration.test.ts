import { startTestApi, type TestApi } from '../../testing.fixture.js'

describe('what the platform has none of', () => {
  let api: TestApi
  beforeAll(async () => {
    api = await startTestApi()
  })
  afterAll(() => api.close())

  it.each([['/v3/security_groups?globally_enabled_running=true'], ['/v3/isolation_segments?organization_guids=x']])(
    '%s is an empty list',
    async (url) => {
      const caller = await api.caller('anybody')
      expect((await caller.get(url)).body).toMatchObject({ resources: [], pagination: { total_results: 0, next: null } })
      expect((await caller.get(`${url}&colour=red`)).status).toBe(400)
      expect((await caller.get(`${url.split('?')[0]}/x`)).body.errors[0].title).toBe('CF-ResourceNotFound')
    },
  )

  it('answers the network policy API in its own form', async () => {
    const caller = await api.caller('anybody')
    expect((await caller.get('/networking/v1/external/policies?id=a,b')).body).toEqual({ total_policies: 0, policies: [] })
  })
})
