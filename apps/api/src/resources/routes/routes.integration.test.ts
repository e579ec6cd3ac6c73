import { randomUUID } from 'node:crypto'
import { anOrganization, startTestApi, type TestApi } from '../../testing.fixture.js'

describe('routes', () => {
  let api: TestApi
  beforeAll(async () => {
    api = await startTestApi()
  })
  afterAll(() => api.close())
  type World = Awaited<ReturnType<typeof anOrganization>>
  const body = ({ space, domain }: Pick<World, 'space' | 'domain'>, more: object = {}) => ({
    host: `h-${randomUUID()}`,
    ...more,
    relationships: { space: { data: { guid: space.guid } }, domain: { data: { guid: domain.guid } } },
  })
  const anApp = (spaceGuid: string) => api.context.db.app.create({ data: { guid: randomUUID(), name: randomUUID(), spaceGuid } })
  const detailOf = async (answer: Promise<{ body: { errors: { detail: string }[] } }>) => (await answer).body.errors[0]?.detail

  it('is made by developers, shown to the space and hidden from others', async () => {
    const world = await anOrganization(api)
    const { developer, auditor, stranger, domain } = world
    const made = await developer.post('/v3/routes', body(world, { host: 'Shown-1', path: '/a' }))
    expect(made).toMatchObject({
      status: 201,
      body: {
        host: 'shown-1',
        path: '/a',
        port: null,
        protocol: 'http',
        url: `shown-1.${domain.name}/a`,
        options: {},
        destinations: [],
      },
    })
    expect((await auditor.post('/v3/routes', body(world))).status).toBe(403)
    expect(await detailOf(stranger.post('/v3/routes', body(world)))).toBe(
      'Invalid space. Ensure that the space exists and you have access to it.',
    )
    expect((await auditor.get(`/v3/routes/${made.body.guid}`)).status).toBe(200)
    expect((await stranger.get(`/v3/routes/${made.body.guid}`)).status).toBe(404)
    const included = (await auditor.get(`/v3/routes/${made.body.guid}?include=domain,space.organization`)).body.included
    expect(included).toMatchObject({ domains: [{ guid: domain.guid }], organizations: [{ name: world.organization.name }] })
  })

  it('belongs to one space: the second is told that it already exists, also under another path of a shared domain', async () => {
    const [mine, theirs] = [await anOrganization(api), await anOrganization(api)]
    const { domain } = mine
    await mine.developer.post('/v3/routes', body(mine, { host: 'taken' }))
    expect(await detailOf(mine.developer.post('/v3/routes', body(mine, { host: 'TAKEN' })))).toBe(
      `Route already exists with host 'taken' for domain '${domain.name}'.`,
    )
    expect(await detailOf(theirs.developer.post('/v3/routes', body(theirs, { host: 'taken' })))).toBe(
      `Route already exists with host 'taken' for domain '${domain.name}'.`,
    )
    expect((await mine.developer.post('/v3/routes', body(mine, { host: 'taken', path: '/p' }))).status).toBe(201)
    expect(await detailOf(mine.developer.post('/v3/routes', body(mine, { host: 'taken', path: '/p' })))).toBe(
      `Route already exists with host 'taken' and path '/p' for domain '${domain.name}'.`,
    )
    expect(await detailOf(theirs.developer.post('/v3/routes', body(theirs, { host: 'taken', path: '/q' })))).toMatch(
      /^Host 'taken' .* in another space/,
    )
    const race = await Promise.all(
      [mine, theirs].map((world) => world.developer.post('/v3/routes', body(world, { host: 'race' }))),
    )
    expect(race.map(({ status }) => status).sort()).toEqual([201, 422])
  })

  it.each([
    [{ host: 'a.b' }, 'Host must be either "*" or contain only alphanumeric characters, "_", or "-"'],
    [{ host: 'a'.repeat(64) }, 'Host is too long (maximum is 63 characters)'],
    [{ host: '' }, 'Missing host. Routes in shared domains must have a host defined.'],
    [
      { host: '*' },
      'You do not have sufficient permissions to create a route with a wildcard host on a domain not scoped to an organization.',
    ],
    [{ path: 'p' }, 'Path must begin with /'],
    [{ path: '/' }, 'Path cannot be exactly /'],
    [{ path: '/p?q' }, 'Path cannot contain ?'],
    [{ port: 1234 }, "Routes with protocol 'http' do not support ports."],
    [{ options: { nonsense: 'x' } }, "Options Unknown field(s): 'nonsense'"],
    [{ options: { loadbalancing: 'x' } }, "Options Loadbalancing must be one of 'round-robin, least-connection' if present"],
    [{ whatever: 1 }, "Unknown field(s): 'whatever'"],
  ])('refuses %j', async (more, detail) => {
    const world = await anOrganization(api)
    expect(await detailOf(world.developer.post('/v3/routes', body(world, more)))).toBe(detail)
  })

  it('leaves the platform its own names', async () => {
    const world = await anOrganization(api)
    const { db, settings } = api.context
    const domain = await db.domain.upsert({
      where: { name: settings.systemDomain },
      update: {},
      create: { guid: randomUUID(), name: settings.systemDomain },
    })
    for (const host of ['api', 'console', 'API'])
      expect(await detailOf(world.admin.post('/v3/routes', body({ ...world, domain }, { host })))).toBe(
        'Route conflicts with a reserved system route.',
      )
    await db.domain.delete({ where: { guid: domain.guid } })
  })

  it('lists strictly: an empty value is a value', async () => {
    const world = await anOrganization(api)
    const { developer, domain, space, organization } = world
    const { guid } = (await developer.post('/v3/routes', body(world, { host: 'listed' }))).body
    const found = async (query: string) =>
      (await developer.get(`/v3/routes?${query}`)).body.resources.map((each: { guid: string }) => each.guid)
    expect(await found(`domain_guids=${domain.guid}&hosts=listed&paths=&page=1&per_page=1`)).toEqual([guid])
    expect(await found(`domain_guids=${domain.guid}&hosts=&paths=`)).toEqual([])
    expect(await found(`hosts=listed&paths=/x`)).toEqual([])
    expect(await found(`hosts=listed&ports=0`)).toEqual([])
    expect(await found(`space_guids=${space.guid}&per_page=5000`)).toEqual([guid])
    expect(await found(`organization_guids=${organization.guid}`)).toEqual([guid])
    expect(await found('guids=')).toEqual([])
    expect((await developer.get('/v3/routes?host=listed')).status).toBe(400)
    expect((await world.admin.patch('/v3/routes', { options: {} })).status).toBe(404)
    for (let i = 0; i < 12; i++) await developer.post('/v3/routes', body(world))
    const list = (perPage: number) => developer.get(`/v3/routes?include=domain,space.organization&per_page=${perPage}`)
    expect(await api.countQueries(() => list(13))).toBe(await api.countQueries(() => list(2)))
  })

  it('merges options and shows only strings', async () => {
    const world = await anOrganization(api)
    const { developer } = world
    const made = await developer.post('/v3/routes', body(world, { options: { loadbalancing: 'least-connection' } }))
    const url = `/v3/routes/${made.body.guid}`
    expect(made.body.options).toEqual({ loadbalancing: 'least-connection' })
    expect((await developer.patch(url, { metadata: { labels: { a: 'b' } } })).body.options).toEqual({
      loadbalancing: 'least-connection',
    })
    expect((await developer.patch(url, { options: { loadbalancing: null } })).body.options).toEqual({})
    await world.admin.patch('/v3/feature_flags/hash_based_routing', { enabled: true })
    expect(await detailOf(developer.patch(url, { options: { loadbalancing: 'hash' } }))).toBe(
      'Hash header must be present when loadbalancing is set to hash.',
    )
    const hashed = { loadbalancing: 'hash', hash_header: 'x-user', hash_balance: 1.3 }
    expect((await developer.patch(url, { options: hashed })).body.options).toEqual({ ...hashed, hash_balance: '1.3' })
    await world.admin.patch('/v3/feature_flags/hash_based_routing', { enabled: false })
  })

  it('leads to apps: inserts once, replaces, changes the protocol, unmaps, and tells the scheduler', async () => {
    const world = await anOrganization(api)
    const { developer, space } = world
    const [blue, green] = [await anApp(space.guid), await anApp(space.guid)]
    const { guid } = (await developer.post('/v3/routes', body(world))).body
    const url = `/v3/routes/${guid}/destinations`
    let nudged = 0
    const stop = api.context.nudges.listen(({ topic }) => (nudged += topic === 'scheduler' ? 1 : 0))
    const inserted = await developer.post(url, { destinations: [{ app: { guid: blue.guid } }] })
    expect(inserted).toMatchObject({
      status: 200,
      body: {
        destinations: [{ app: { guid: blue.guid, process: { type: 'web' } }, port: 8080, protocol: 'http1', weight: null }],
      },
    })
    expect(
      (await developer.post(url, { destinations: [{ app: { guid: blue.guid }, port: 8080 }] })).body.destinations,
    ).toHaveLength(1)
    expect((await developer.get(`/v3/apps/${blue.guid}/routes`)).body.resources).toMatchObject([{ guid }])
    const replaced = await developer.patch(url, { destinations: [{ app: { guid: green.guid } }, { app: { guid: blue.guid } }] })
    const kept = replaced.body.destinations.find((each: { app: { guid: string } }) => each.app.guid === blue.guid)
    expect(kept.guid).toBe(inserted.body.destinations[0].guid)
    expect((await developer.patch(`${url}/${kept.guid}`, { protocol: 'http2' })).body).toMatchObject({ protocol: 'http2' })
    expect((await developer.delete(`${url}/${kept.guid}`)).status).toBe(204)
    expect((await developer.delete(`${url}/${kept.guid}`)).status).toBe(422)
    const events = await api.context.db.auditEvent.findMany({ where: { targetGuid: blue.guid }, orderBy: { createdAt: 'asc' } })
    expect(events.map(({ type }) => type)).toEqual(['audit.app.map-route', 'audit.app.unmap-route'])
    for (const deadline = Date.now() + 5_000; nudged < 4 && Date.now() < deadline;) await developer.get(url)
    expect(nudged).toBeGreaterThanOrEqual(4)
    stop()
  })

  it('loses no destination by a body without them, and takes none that is not its own', async () => {
    const [world, other] = [await anOrganization(api), await anOrganization(api)]
    const { developer, admin, space } = world
    const app = await anApp(space.guid)
    const foreign = await anApp(other.space.guid)
    const { guid } = (await developer.post('/v3/routes', body(world))).body
    const url = `/v3/routes/${guid}/destinations`
    await developer.post(url, { destinations: [{ app: { guid: app.guid } }] })
    expect((await developer.patch(url, { protocol: 'http2' })).status).toBe(422)
    expect((await developer.patch(url, {})).status).toBe(422)
    expect((await developer.get(url)).body.destinations).toHaveLength(1)
    expect(await detailOf(developer.post(url, { destinations: [{ app: { guid: foreign.guid } }] }))).toMatch(
      /do not exist or you do not have access/,
    )
    expect(await detailOf(admin.post(url, { destinations: [{ app: { guid: foreign.guid } }] }))).toBe(
      "Routes destinations must be in either the route's space or the route's shared spaces",
    )
    expect(await detailOf(developer.post(url, { destinations: [{ app: { guid: app.guid }, protocol: 'tcp' }] }))).toMatch(
      /protocol/,
    )
    expect((await developer.patch(url, { destinations: [] })).body.destinations).toEqual([])
  })

  it('keeps to the quotas of space and organization', async () => {
    const world = await anOrganization(api)
    const { developer, space, organization } = world
    const { db } = api.context
    const spaceQuota = await db.spaceQuota.create({
      data: { guid: randomUUID(), name: 'one', organizationGuid: organization.guid, totalRoutes: 1 },
    })
    await db.space.update({ where: { guid: space.guid }, data: { quotaGuid: spaceQuota.guid } })
    const answers = await Promise.all([1, 2, 3].map(() => developer.post('/v3/routes', body(world))))
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 422, 422])
    expect(await detailOf(developer.post('/v3/routes', body(world)))).toBe(`Routes quota exceeded for space '${space.name}'.`)
    const quota = await db.organizationQuota.create({ data: { guid: randomUUID(), name: randomUUID(), totalRoutes: 1 } })
    await db.organization.update({ where: { guid: organization.guid }, data: { quotaGuid: quota.guid } })
    await db.space.update({ where: { guid: space.guid }, data: { quotaGuid: null } })
    expect(await detailOf(developer.post('/v3/routes', body(world)))).toBe(
      `Routes quota exceeded for organization '${organization.name}'.`,
    )
  })

  it('is deleted by a job', async () => {
    const world = await anOrganization(api)
    const { guid } = (await world.developer.post('/v3/routes', body(world))).body
    expect((await world.auditor.delete(`/v3/routes/${guid}`)).status).toBe(403)
    expect(await world.developer.job(await world.developer.delete(`/v3/routes/${guid}`))).toMatchObject({ state: 'COMPLETE' })
    expect((await world.developer.get(`/v3/routes/${guid}`)).body.errors[0].detail).toBe('Route not found')
  })
})
