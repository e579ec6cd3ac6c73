import { anOrganization, startTestApi, type TestApi } from '../../testing.fixture.js'

describe('organizations', () => {
  let api: TestApi
  beforeAll(async () => {
    api = await startTestApi()
  })
  afterAll(() => api.close())

  it('shows an organization to its members and hides it from others', async () => {
    const { organization, developer, stranger } = await anOrganization(api)
    expect((await developer.get(`/v3/organizations/${organization.guid}`)).body).toMatchObject({ name: organization.name })
    expect((await stranger.get(`/v3/organizations/${organization.guid}`)).status).toBe(404)
    expect((await stranger.get('/v3/organizations')).body.resources).toEqual([])
  })
})
