import { randomUUID } from 'node:crypto'
import { anOrganization, startTestApi, type TestApi } from '../../testing.fixture.js'

describe('spaces', () => {
  let api: TestApi
  beforeAll(async () => {
    api = await startTestApi()
  })
  afterAll(() => api.close())
  const events = (guid: string) =>
    api.context.db.auditEvent.findMany({ where: { targetGuid: guid }, orderBy: { createdAt: 'asc' } })
  const inOrganization = (name: string, guid: string) => ({ name, relationships: { organization: { data: { guid } } } })

  it('is made by a manager, shown to its members, hidden from others', async () => {
    const { organization, withRole, stranger } = await anOrganization(api)
    const manager = await withRole('organization_manager')
    const made = await manager.post('/v3/spaces', inOrganization('prod', organization.guid))
    expect(made).toMatchObject({
      status: 201,
      body: { name: 'prod', relationships: { organization: { data: { guid: organization.guid } }, quota: { data: null } } },
    })
    expect(made.headers['location']).toBeUndefined()
    expect((await stranger.get(`/v3/spaces/${made.body.guid}`)).status).toBe(404)
    expect((await stranger.get('/v3/spaces')).body.resources).toEqual([])
    expect(await events(made.body.guid)).toMatchObject([{ type: 'audit.space.create', actorName: manager.name }])
  })

  it('refuses a taken name in the words that the client knows, whatever its case', async () => {
    const { organization, admin } = await anOrganization(api)
    const answer = await admin.post('/v3/spaces', inOrganization('DEV', organization.guid))
    expect(answer.status).toBe(422)
    expect(answer.body.errors).toEqual([
      { code: 10008, title: 'CF-UnprocessableEntity', detail: 'Name must be unique per organization' },
    ])
  })

  it('refuses what is malformed, and an organization that is not to be seen', async () => {
    const { organization, stranger } = await anOrganization(api)
    expect((await stranger.post('/v3/spaces', inOrganization('x', organization.guid))).body.errors[0].detail).toBe(
      'Invalid organization. Ensure the organization exists and you have access to it.',
    )
    expect((await stranger.post('/v3/spaces', { name: 'x' })).status).toBe(422)
    expect((await stranger.post('/v3/spaces', '{"name":')).body.errors[0]).toMatchObject({ code: 1001 })
  })

  it('finds by name, organization and label, with its organization', async () => {
    const { organization, space, developer } = await anOrganization(api)
    await api.context.db.space.update({ where: { guid: space.guid }, data: { labels: { env: 'test' } } })
    const found = async (query: string) =>
      (await developer.get(`/v3/spaces?${query}`)).body.resources.map((each: { guid: string }) => each.guid)
    expect(await found(`names=dev&organization_guids=${organization.guid}`)).toEqual([space.guid])
    expect(await found('names=DEV')).toEqual([space.guid])
    expect(await found('names=')).toEqual([])
    expect(await found('guids=')).toEqual([])
    for (const [selector, matches] of [
      ['env=test', true],
      ['env==other', false],
      ['env!=test', false],
      ['tier!=gold', true],
      ['env', true],
      ['!env', false],
      ['!tier', true],
      ['env in (a,test)', true],
      ['env notin (a,b),!tier', true],
      ['tier notin (a)', true],
    ] as const)
      expect([selector, await found(`label_selector=${encodeURIComponent(selector)}`)]).toEqual([
        selector,
        matches ? [space.guid] : [],
      ])
    const { body } = await developer.get('/v3/spaces?include=organization')
    expect(body.included.organizations).toMatchObject([{ guid: organization.guid, name: organization.name }])
    expect((await developer.get('/v3/spaces?nonsense=1')).status).toBe(400)
  })

  it('switches ssh, and tells of no isolation segment and no security groups', async () => {
    const { space, admin, developer } = await anOrganization(api)
    const feature = `/v3/spaces/${space.guid}/features/ssh`
    expect((await developer.get(feature)).body).toMatchObject({ name: 'ssh', enabled: true })
    expect((await developer.patch(feature, { enabled: false })).status).toBe(403)
    expect((await admin.patch(feature, { enabled: false })).body).toMatchObject({ enabled: false })
    expect((await developer.get(`/v3/spaces/${space.guid}/relationships/isolation_segment`)).body.data).toBeNull()
    expect((await developer.get(`/v3/spaces/${space.guid}/running_security_groups`)).body.resources).toEqual([])
  })

  it('is deleted with its routes, services and roles by a job that can be run twice', async () => {
    const { space, domain, organization, admin } = await anOrganization(api)
    const { db } = api.context
    const route = { guid: randomUUID(), host: 'gone', domainGuid: domain.guid, spaceGuid: space.guid }
    await db.route.create({ data: route })
    await db.serviceInstance.create({
      data: { guid: randomUUID(), name: 'db', type: 'user-provided', spaceGuid: space.guid },
    })
    const answer = await admin.delete(`/v3/spaces/${space.guid}`)
    expect(answer.status).toBe(202)
    expect(String(answer.headers['location'])).toMatch(/^http:\/\/localhost:8080\/v3\/jobs\//)
    expect(await admin.job(answer)).toMatchObject({ state: 'COMPLETE', operation: 'space.delete' })
    expect(await db.space.count({ where: { organizationGuid: organization.guid } })).toBe(0)
    expect(await db.route.count({ where: { guid: route.guid } })).toBe(0)
    expect((await events(route.guid)).map(({ type }) => type)).toEqual(['audit.route.delete-request'])
    expect((await events(space.guid)).map(({ type }) => type)).toEqual(['audit.space.delete-request'])
    expect((await admin.delete(`/v3/spaces/${space.guid}`)).status).toBe(404)
  })

  it('deletes orphaned routes alone, and only when told so', async () => {
    const { space, domain, developer } = await anOrganization(api)
    const { db } = api.context
    const app = await db.app.create({ data: { guid: randomUUID(), name: 'a', spaceGuid: space.guid } })
    const orphan = { guid: randomUUID(), host: `o-${app.guid}`, domainGuid: domain.guid, spaceGuid: space.guid }
    const mapped = { ...orphan, guid: randomUUID(), host: `m-${app.guid}` }
    await db.route.createMany({ data: [orphan, mapped] })
    await db.routeDestination.create({ data: { guid: randomUUID(), routeGuid: mapped.guid, appGuid: app.guid } })
    expect((await developer.delete(`/v3/spaces/${space.guid}/routes`)).status).toBe(422)
    await developer.job(await developer.delete(`/v3/spaces/${space.guid}/routes?unmapped=true`))
    expect((await db.route.findMany({ where: { spaceGuid: space.guid } })).map(({ guid }) => guid)).toEqual([mapped.guid])
  })
})
