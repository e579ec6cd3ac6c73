import { randomUUID } from 'node:crypto'
import { anOrganization, startTestApi, type TestApi } from '../testing.fixture.js'

describe('quotas', () => {
  let api: TestApi
  beforeAll(async () => {
    api = await startTestApi()
  })
  afterAll(() => api.close())
  const asTheClientSends = (name: string) => ({
    name,
    apps: { total_memory_in_mb: 0 },
    services: { total_service_instances: 0, paid_services_allowed: false },
    routes: { total_routes: 0, total_reserved_ports: 0 },
  })

  it('always shows the three groups of limits; absent keeps a limit and null lifts it', async () => {
    const { admin } = await anOrganization(api)
    const name = randomUUID()
    const made = await admin.post('/v3/organization_quotas', asTheClientSends(name))
    expect(made).toMatchObject({
      status: 201,
      body: {
        apps: { total_memory_in_mb: 0, per_process_memory_in_mb: null, log_rate_limit_in_bytes_per_second: null },
        services: { paid_services_allowed: false, total_service_instances: 0 },
        routes: { total_routes: 0 },
        domains: { total_domains: null },
      },
    })
    expect((await admin.post('/v3/organization_quotas', asTheClientSends(name))).body.errors[0].detail).toBe(
      `Organization Quota '${name}' already exists.`,
    )
    const changed = await admin.patch(`/v3/organization_quotas/${made.body.guid}`, {
      name,
      apps: { total_memory_in_mb: null, log_rate_limit_in_bytes_per_second: 4_294_967_296 },
      services: {},
      routes: {},
    })
    expect(changed.body).toMatchObject({
      apps: { total_memory_in_mb: null, log_rate_limit_in_bytes_per_second: 4_294_967_296 },
      routes: { total_routes: 0 },
      services: { total_service_instances: 0 },
    })
    expect((await admin.patch(`/v3/organization_quotas/${made.body.guid}`, { routes: { total_routes: -1 } })).status).toBe(422)
  })

  it('is applied to organizations, and deleted only when none has it', async () => {
    const { admin, organization, developer } = await anOrganization(api)
    const { guid } = (await admin.post('/v3/organization_quotas', { name: randomUUID() })).body
    expect((await developer.get(`/v3/organization_quotas/${guid}`)).status).toBe(404)
    const applied = await admin.post(`/v3/organization_quotas/${guid}/relationships/organizations`, {
      data: [{ guid: organization.guid }],
    })
    expect(applied.body.data).toEqual([{ guid: organization.guid }])
    expect((await developer.get(`/v3/organization_quotas/${guid}`)).status).toBe(200)
    expect((await developer.patch(`/v3/organization_quotas/${guid}`, {})).status).toBe(403)
    expect((await admin.delete(`/v3/organization_quotas/${guid}`)).status).toBe(422)
    const other = (await admin.post('/v3/organization_quotas', { name: randomUUID() })).body.guid
    await admin.post(`/v3/organization_quotas/${other}/relationships/organizations`, { data: [{ guid: organization.guid }] })
    expect(await admin.job(await admin.delete(`/v3/organization_quotas/${guid}`))).toMatchObject({ state: 'COMPLETE' })
  })

  it('limits spaces, managed by the organization’s managers', async () => {
    const { organization, space, withRole, developer, stranger } = await anOrganization(api)
    const manager = await withRole('organization_manager')
    const body = { ...asTheClientSends('small'), relationships: { organization: { data: { guid: organization.guid } } } }
    expect((await developer.post('/v3/space_quotas', body)).status).toBe(403)
    expect((await stranger.post('/v3/space_quotas', body)).status).toBe(422)
    const { guid } = (await manager.post('/v3/space_quotas', body)).body
    expect((await manager.post('/v3/space_quotas', body)).body.errors[0].detail).toBe("Space Quota 'small' already exists.")
    expect((await developer.get(`/v3/space_quotas/${guid}`)).status).toBe(404)
    await manager.post(`/v3/space_quotas/${guid}/relationships/spaces`, { data: [{ guid: space.guid }] })
    expect((await developer.get(`/v3/space_quotas/${guid}`)).body).toMatchObject({
      routes: { total_routes: 0 },
      relationships: { spaces: { data: [{ guid: space.guid }] } },
    })
    expect((await manager.delete(`/v3/space_quotas/${guid}`)).status).toBe(422)
    expect((await manager.delete(`/v3/space_quotas/${guid}/relationships/spaces/${space.guid}`)).status).toBe(204)
    expect((await manager.delete(`/v3/space_quotas/${guid}/relationships/spaces/${space.guid}`)).status).toBe(422)
    await manager.job(await manager.delete(`/v3/space_quotas/${guid}`))
  })
})
