import { anOrganization, startTestApi, type TestApi } from '../../testing.fixture.js'

describe('feature flags and environment variable groups', () => {
  let api: TestApi
  beforeAll(async () => {
    api = await startTestApi()
  })
  afterAll(() => api.close())

  it('shows every flag with its default, and lets admins set it', async () => {
    const world = await anOrganization(api)
    const { admin, developer } = world
    expect((await developer.get('/v3/feature_flags')).body.resources).toContainEqual(
      expect.objectContaining({ name: 'diego_docker', enabled: false }),
    )
    expect((await developer.get('/v3/feature_flags/nope')).body.errors[0].detail).toBe('Feature flag not found')
    expect((await developer.patch('/v3/feature_flags/route_creation', { enabled: false })).status).toBe(403)
    await admin.patch('/v3/feature_flags/route_creation', { enabled: false })
    const refused = await developer.post('/v3/routes', {
      host: 'x',
      relationships: { space: { data: { guid: world.space.guid } }, domain: { data: { guid: world.domain.guid } } },
    })
    expect(refused).toMatchObject({
      status: 403,
      body: { errors: [{ code: 330002, detail: 'Feature Disabled: route_creation' }] },
    })
    await admin.patch('/v3/feature_flags/route_creation', { enabled: true })
  })

  it('merges variables, takes away what is null, and keeps them encrypted', async () => {
    const { admin, developer } = await anOrganization(api)
    const url = '/v3/environment_variable_groups/running'
    await admin.patch(url, { var: { A: '1', B: 2 } })
    expect((await admin.patch(url, { var: { A: null, C: 'x' } })).body.var).toEqual({ B: '2', C: 'x' })
    expect((await developer.get(url)).body.var).toEqual({ B: '2', C: 'x' })
    expect((await developer.patch(url, { var: {} })).status).toBe(403)
    expect((await admin.patch(url, { var: { PORT: '1' } })).status).toBe(422)
    const stored = await api.context.db.environmentVariableGroup.findUniqueOrThrow({ where: { name: 'running' } })
    expect(Object.keys(stored.varEncrypted as object)).toEqual(['kid', 'nonce', 'ciphertext'])
  })
})
