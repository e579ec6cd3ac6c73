import { randomUUID } from 'node:crypto'
import { anOrganization, startTestApi, type TestApi } from '../../testing.fixture.js'

describe('domains', () => {
  let api: TestApi
  beforeAll(async () => {
    api = await startTestApi()
  })
  afterAll(() => api.close())
  const owned = (name: string, guid: string) => ({ name, relationships: { organization: { data: { guid } } } })
  const aName = () => `d${randomUUID().slice(0, 8)}.example.com`

  it('shared ones are made by admins and seen by all, private ones are their organization’s', async () => {
    const { organization, admin, withRole, stranger, developer } = await anOrganization(api)
    const manager = await withRole('organization_manager')
    const [shared, own] = [aName(), aName()]
    expect((await manager.post('/v3/domains', { name: shared, internal: false })).status).toBe(403)
    expect(await admin.post('/v3/domains', { name: shared, internal: false })).toMatchObject({
      status: 201,
      body: {
        internal: false,
        router_group: null,
        supported_protocols: ['http'],
        relationships: { organization: { data: null } },
      },
    })
    const made = await manager.post('/v3/domains', owned(own, organization.guid))
    expect(made.body.relationships.organization.data).toEqual({ guid: organization.guid })
    expect((await stranger.get(`/v3/domains?names=${shared},${own}`)).body.resources).toMatchObject([{ name: shared }])
    expect((await developer.get(`/v3/domains?names=${own}`)).body.resources).toHaveLength(1)
    expect((await developer.delete(`/v3/domains/${made.body.guid}`)).status).toBe(403)
    expect((await stranger.delete(`/v3/domains/${made.body.guid}`)).status).toBe(404)
  })

  it.each([
    ['x', 'Name is too short (minimum is 3 characters)'],
    ['localhost', 'Name must contain at least one "."'],
    ['-a.example.com', 'Name does not comply with RFC 1035 standards'],
    ['a_b.example.com', 'Name must consist of alphanumeric characters and hyphens'],
  ])('refuses %s', async (name, detail) => {
    const { admin } = await anOrganization(api)
    const { errors } = (await admin.post('/v3/domains', { name })).body
    expect(errors.map((error: { detail: string }) => error.detail)).toContain(detail)
  })

  it('refuses names that are taken, lie in another’s, belong to a route or to the platform', async () => {
    const { organization, space, domain, admin, withRole } = await anOrganization(api)
    const other = await anOrganization(api)
    const manager = await withRole('organization_manager')
    const name = aName()
    await manager.post('/v3/domains', owned(name, organization.guid))
    const detail = async (body: object) => (await admin.post('/v3/domains', body)).body.errors[0].detail
    expect(await detail({ name: name.toUpperCase() })).toBe(`The domain name "${name}" is already in use`)
    expect(await detail(owned(`sub.${name}`, other.organization.guid))).toBe(
      `The domain name "sub.${name}" cannot be created because "${name}" is already reserved by another domain`,
    )
    expect((await manager.post('/v3/domains', owned(`sub.${name}`, organization.guid))).status).toBe(201)
    expect(await detail(owned('x.bloomery.test', organization.guid))).toMatch(/is already reserved by the system$/)
    await api.context.db.route.create({
      data: { guid: randomUUID(), host: 'taken', domainGuid: domain.guid, spaceGuid: space.guid },
    })
    expect(await detail({ name: `taken.${domain.name}` })).toMatch(/is already reserved by a route$/)
  })

  it('is shared with other organizations, and not deleted before it is unshared', async () => {
    const { organization, admin, withRole } = await anOrganization(api)
    const other = await anOrganization(api)
    const manager = await withRole('organization_manager')
    const { guid, name } = (await manager.post('/v3/domains', owned(aName(), organization.guid))).body
    const sharings = `/v3/domains/${guid}/relationships/shared_organizations`
    expect((await manager.post(sharings, { data: [{ guid: other.organization.guid }] })).status).toBe(422)
    expect((await admin.post(sharings, { data: [{ guid: other.organization.guid }] })).status).toBe(200)
    expect((await other.developer.get(`/v3/domains?names=${name}`)).body.resources).toHaveLength(1)
    expect((await manager.delete(`/v3/domains/${guid}`)).body.errors[0].detail).toBe(
      'This domain is shared with other organizations. Unshare before deleting.',
    )
    expect((await admin.delete(`${sharings}/${other.organization.guid}`)).status).toBe(204)
    expect(await manager.job(await manager.delete(`/v3/domains/${guid}`))).toMatchObject({ state: 'COMPLETE' })
  })

  it('tells whether a route exists; what is not asked for is empty', async () => {
    const { space, domain, developer, stranger } = await anOrganization(api)
    const host = `r-${space.guid}`
    await api.context.db.route.create({
      data: { guid: randomUUID(), host, path: '/p', domainGuid: domain.guid, spaceGuid: space.guid },
    })
    const asked = async (query: string) =>
      (await stranger.get(`/v3/domains/${domain.guid}/route_reservations?${query}`)).body.matching_route
    expect(await asked(`host=${host}`)).toBe(false)
    expect(await asked(`host=${host}&path=/p`)).toBe(true)
    expect((await developer.get(`/v3/domains/nope/route_reservations`)).status).toBe(404)
  })
})
