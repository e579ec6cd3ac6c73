import { randomUUID } from 'node:crypto'
import { seedRouterGroup } from '../../seed/router-group.js'
import { anOrganization, startTestApi, type Caller, type TestApi } from '../../testing.fixture.js'

describe('TCP domains and routes', () => {
  let api: TestApi
  beforeAll(async () => {
    api = await startTestApi()
    await api.context.db.$transaction((tx) => seedRouterGroup(tx, api.context.settings.tcpPorts))
  })
  afterAll(() => api.close())
  type World = Awaited<ReturnType<typeof anOrganization>>
  const detailOf = async (answer: Promise<{ body: { errors: { detail: string }[] } }>) => (await answer).body.errors[0]?.detail

  const aGroup = async (admin: Caller, ports: string) =>
    (await admin.post('/routing/v1/router_groups', { name: `g-${randomUUID()}`, type: 'tcp', reservable_ports: ports })).body
  const aTcpDomain = async (admin: Caller, group: { guid: string }) =>
    (
      await admin.post('/v3/domains', {
        name: `t${randomUUID().slice(0, 8)}.test`,
        internal: false,
        router_group: { guid: group.guid },
      })
    ).body
  const aRoute = ({ developer, space }: World, domain: { guid: string }, more: object = {}) =>
    developer.post('/v3/routes', {
      ...more,
      relationships: { space: { data: { guid: space.guid } }, domain: { data: { guid: domain.guid } } },
    })

  it('lists router groups as the client reads them, and lets admins change them', async () => {
    const { admin, developer } = await anOrganization(api)
    const found = await developer.get('/routing/v1/router_groups?name=default-tcp')
    expect(found.body).toEqual([{ guid: expect.any(String), name: 'default-tcp', type: 'tcp', reservable_ports: '20000-20009' }])
    const group = await aGroup(admin, '20000-20001')
    const path = `/routing/v1/router_groups/${group.guid}`
    expect((await admin.put(path, { reservable_ports: '20000-20002' })).body.reservable_ports).toBe('20000-20002')
    expect((await developer.put(path, { reservable_ports: '' })).body).toEqual({
      name: 'UnauthorizedError',
      message: 'You are not authorized to perform the requested action',
    })
    for (const [ports, problem] of [
      ['80', /no list of ports/],
      ['30000', /Routers listen on 20000-20009 .* BLOOMERY_TCP_PORTS/],
    ] as const)
      expect((await admin.put(path, { reservable_ports: ports })).body).toMatchObject({ message: expect.stringMatching(problem) })
    expect((await admin.get(`/routing/v1/router_groups/none`)).body).toMatchObject({ name: 'ResourceNotFoundError' })
    const expired = await api.app.inject({ url: '/routing/v1/router_groups', headers: { authorization: 'bearer old' } })
    expect([expired.statusCode, JSON.parse(expired.payload).message]).toEqual([401, 'Token is expired'])
    const domain = await aTcpDomain(admin, group)
    expect(domain).toMatchObject({ supported_protocols: ['tcp'], router_group: { guid: group.guid } })
    expect((await admin.delete(path)).body.message).toMatch(/belongs to router group/)
    expect(await detailOf(admin.post('/v3/domains', { name: 'x.y.test', router_group: { guid: 'none' } }))).toBe(
      "Router group with guid 'none' not found.",
    )
  })

  it('gives a free port or the one asked for, each once', async () => {
    const world = await anOrganization(api)
    const group = await aGroup(world.admin, '20000-20001')
    const [one, two] = [await aTcpDomain(world.admin, group), await aTcpDomain(world.admin, group)]
    const given = await aRoute(world, one, { port: 20_001 })
    expect(given.body).toMatchObject({ protocol: 'tcp', host: '', path: '', port: 20_001, url: `${one.name}:20001` })
    expect((await aRoute(world, two)).body.port).toBe(20_000)
    expect(await detailOf(aRoute(world, one))).toBe('There are no more ports available for this domain.')
    expect(await detailOf(aRoute(world, one, { port: 20_001 }))).toBe(
      `Route already exists with port '20001' for domain '${one.name}'.`,
    )
    for (const port of [20_001, 1024])
      expect(await detailOf(aRoute(world, two, { port }))).toBe(
        `Port '${port}' is not available. Try a different port or use a different domain.`,
      )
    expect(await detailOf(aRoute(world, one, { host: 'h' }))).toBe('Hosts are not supported for TCP routes.')
    expect(await detailOf(aRoute(world, one, { path: '/p' }))).toBe('Paths are not supported for TCP routes.')
    const found = async (query: string) =>
      (await world.developer.get(`/v3/routes?domain_guids=${one.guid}&hosts=&paths=&${query}`)).body.resources.length
    expect([await found('ports=20001'), await found('ports=0'), await found('ports=20000')]).toEqual([1, 0, 0])
    const reserved = await world.developer.get(`/v3/domains/${one.guid}/route_reservations?port=20001`)
    expect(reserved.body).toEqual({ matching_route: true })
    const race = await Promise.all([20_002, 20_002].map((port) => aRoute(world, one, { port })))
    expect(race.map(({ status }) => status)).toEqual([422, 422])
  })

  it('counts reserved ports against the quota', async () => {
    const world = await anOrganization(api)
    const group = await aGroup(world.admin, '20000-20004')
    const domain = await aTcpDomain(world.admin, group)
    const quota = (await world.admin.post('/v3/organization_quotas', { name: randomUUID(), routes: { total_reserved_ports: 1 } }))
      .body
    await api.context.db.organization.update({ where: { guid: world.organization.guid }, data: { quotaGuid: quota.guid } })
    expect((await aRoute(world, domain)).status).toBe(201)
    expect(await detailOf(aRoute(world, domain))).toBe(
      `Reserved route ports quota exceeded for organization '${world.organization.name}'.`,
    )
  })

  it('shares a port between server names, and never across spaces with a route for all of them', async () => {
    const [mine, theirs] = [await anOrganization(api), await anOrganization(api)]
    const domain = await aTcpDomain(mine.admin, await aGroup(mine.admin, '20000-20004'))
    const sni = (world: World, host: string, port: number) => aRoute(world, domain, { host, port, options: { sni: 'true' } })
    expect((await sni(mine, 'db', 20_000)).body).toMatchObject({ host: 'db', port: 20_000, url: `db.${domain.name}:20000` })
    expect((await sni(theirs, 'cache', 20_000)).status).toBe(201)
    expect(await detailOf(sni(theirs, 'db', 20_000))).toMatch(/already exists with host 'db' and port '20000'/)
    expect((await aRoute(mine, domain, { port: 20_000 })).status).toBe(422)
    expect((await aRoute(mine, domain, { port: 20_001 })).status).toBe(201)
    expect((await sni(theirs, 'x', 20_001)).status).toBe(422)
    const own = (await sni(mine, 'x', 20_001)).body
    expect(await detailOf(mine.developer.patch(`/v3/routes/${own.guid}`, { options: { sni: null } }))).toMatch(
      /cannot be changed/,
    )
  })

  it('leads to apps by TCP alone', async () => {
    const world = await anOrganization(api)
    const domain = await aTcpDomain(world.admin, await aGroup(world.admin, '20000-20004'))
    const app = await api.context.db.app.create({ data: { guid: randomUUID(), name: 'a', spaceGuid: world.space.guid } })
    const path = `/v3/routes/${(await aRoute(world, domain)).body.guid}/destinations`
    const map = (more: object) => world.developer.post(path, { destinations: [{ app: { guid: app.guid }, ...more }] })
    expect(await detailOf(map({ protocol: 'http2' }))).toBe(
      "Cannot use 'http2' protocol for tcp routes; valid options are: [tcp].",
    )
    const [destination] = (await map({ port: 9000 })).body.destinations
    expect(destination).toMatchObject({ protocol: 'tcp', port: 9000, weight: null })
    expect(await detailOf(world.developer.patch(`${path}/${destination.guid}`, { protocol: 'http1' }))).toMatch(
      /Cannot use 'http1'/,
    )
    expect((await world.developer.patch(`${path}/${destination.guid}`, { protocol: 'tcp' })).body.protocol).toBe('tcp')
    expect((await world.developer.get(`${path}?app_guids=other`)).body.destinations).toEqual([])
  })

  it('keeps to the operator’s setting until somebody changes the group', async () => {
    const { db } = api.context
    const ports = async () => (await db.routerGroup.findUnique({ where: { name: 'default-tcp' } }))?.reservablePorts
    const seed = (first: number) => db.$transaction((tx) => seedRouterGroup(tx, [{ first, last: first + 1 }]))
    await seed(21_000)
    expect(await ports()).toBe('21000-21001')
    await db.routerGroup.update({ where: { name: 'default-tcp' }, data: { reservablePorts: '21000' } })
    await seed(22_000)
    expect(await ports()).toBe('21000')
  })
})
