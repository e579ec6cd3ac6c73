import { randomUUID } from 'node:crypto'
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

  it('is made by admins, and by others where the flag allows it, who then manage it', async () => {
    const { admin, stranger } = await anOrganization(api)
    const name = `new-${randomUUID()}`
    expect((await stranger.post('/v3/organizations', { name })).status).toBe(403)
    await admin.patch('/v3/feature_flags/user_org_creation', { enabled: true })
    const made = await stranger.post('/v3/organizations', { name, suspended: false })
    expect(made).toMatchObject({ status: 201, body: { name, relationships: { quota: { data: { guid: expect.any(String) } } } } })
    await admin.patch('/v3/feature_flags/user_org_creation', { enabled: false })
    const { body } = await stranger.get(`/v3/roles?organization_guids=${made.body.guid}`)
    expect(body.resources.map(({ type }: { type: string }) => type).sort()).toEqual(['organization_manager', 'organization_user'])
    expect((await admin.post('/v3/organizations', { name })).body.errors[0].detail).toBe(`Organization '${name}' already exists.`)
  })

  it('takes back what it has shown, as rename-org sends it', async () => {
    const { organization, admin } = await anOrganization(api)
    const renamed = await admin.patch(`/v3/organizations/${organization.guid}`, {
      name: `${organization.name}-2`,
      suspended: false,
      metadata: {},
    })
    expect(renamed).toMatchObject({ status: 200, body: { name: `${organization.name}-2` } })
    expect(renamed.headers['location']).toBeUndefined()
  })

  it('lets nobody but admins work in a suspended organization', async () => {
    const { organization, space, admin, withRole } = await anOrganization(api)
    const manager = await withRole('organization_manager')
    expect((await manager.patch(`/v3/organizations/${organization.guid}`, { suspended: true })).status).toBe(403)
    await admin.patch(`/v3/organizations/${organization.guid}`, { suspended: true })
    expect((await manager.patch(`/v3/spaces/${space.guid}`, { name: 'x' })).status).toBe(403)
    expect((await manager.get(`/v3/spaces/${space.guid}`)).status).toBe(200)
    expect((await admin.patch(`/v3/spaces/${space.guid}`, { name: 'x' })).status).toBe(200)
  })

  it('pages with absolute links that repeat the filters, by a number of queries that does not grow', async () => {
    const { admin, quota } = await anOrganization(api)
    const prefix = randomUUID().slice(0, 6)
    const names = Array.from({ length: 25 }, (_, i) => `${prefix}-${String(i).padStart(2, '0')}`)
    await api.context.db.organization.createMany({
      data: names.map((name) => ({ guid: randomUUID(), name, quotaGuid: quota.guid, labels: { batch: prefix } })),
    })
    const list = (perPage: number, page = 1) =>
      admin.get(`/v3/organizations?label_selector=batch%3D${prefix}&order_by=name&per_page=${perPage}&page=${page}`)
    const { body } = await list(10, 2)
    expect(body.resources.map(({ name }: { name: string }) => name)).toEqual(names.slice(10, 20))
    expect(body.pagination).toMatchObject({ total_results: 25, total_pages: 3 })
    expect(body.pagination.next.href).toMatch(/^http:\/\/localhost:8080\/v3\/organizations\?.*label_selector=batch%3D/)
    const seen: string[] = []
    for (let url: string | undefined = '/v3/organizations?per_page=7&label_selector=batch'; url;) {
      const answer = await admin.get(url)
      seen.push(...answer.body.resources.map(({ name }: { name: string }) => name))
      const next = answer.body.pagination.next?.href as string | undefined
      url = next && new URL(next).pathname + new URL(next).search
    }
    expect(seen.filter((name) => name.startsWith(prefix)).sort()).toEqual(names)
    expect(await api.countQueries(() => list(25))).toBe(await api.countQueries(() => list(1)))
    expect((await list(5001)).status).toBe(400)
    expect((await list(0)).status).toBe(400)
  })

  it('lists its domains, the oldest shared one as default, its users and its usage', async () => {
    const { organization, domain, space, developer, admin } = await anOrganization(api)
    await api.context.db.process.create({
      data: {
        guid: randomUUID(),
        type: 'web',
        instances: 2,
        memoryMb: 64,
        diskMb: 64,
        healthCheck: { type: 'port' },
        version: '1',
        app: { create: { guid: randomUUID(), name: 'a', state: 'STARTED', spaceGuid: space.guid } },
      },
    })
    const base = `/v3/organizations/${organization.guid}`
    expect((await developer.get(`${base}/domains/default`)).body).toMatchObject({ guid: domain.guid })
    expect((await developer.get(`${base}/domains?label_selector=nope`)).body.resources).toEqual([])
    expect((await developer.get(`${base}/usage_summary`)).body.usage_summary).toMatchObject({
      started_instances: 2,
      memory_in_mb: 128,
    })
    const users = (await admin.get(`${base}/users`)).body.resources
    expect(users.map(({ username }: { username: string }) => username)).toContain(developer.name)
    expect((await developer.get(`${base}/relationships/default_isolation_segment`)).body.data).toBeNull()
  })

  it('is deleted with all that is in it', async () => {
    const { organization, space, admin, withRole } = await anOrganization(api)
    const manager = await withRole('organization_manager')
    const made = await manager.post('/v3/domains', {
      name: `${randomUUID()}.example.com`,
      relationships: { organization: { data: { guid: organization.guid } } },
    })
    expect((await manager.delete(`/v3/organizations/${organization.guid}`)).status).toBe(403)
    expect(await admin.job(await admin.delete(`/v3/organizations/${organization.guid}`))).toMatchObject({ state: 'COMPLETE' })
    const { db } = api.context
    expect(await db.space.findUnique({ where: { guid: space.guid } })).toBeNull()
    expect(await db.domain.findUnique({ where: { guid: made.body.guid } })).toBeNull()
  })
})
