import { randomUUID } from 'node:crypto'
import { execute, sql } from '@bloomery/database'
import { anOrganization, startTestApi, type TestApi } from '../../testing.fixture.js'

describe('the explanation of an address', () => {
  let api: TestApi
  beforeAll(async () => {
    api = await startTestApi()
  })
  afterAll(() => api.close())
  type World = Awaited<ReturnType<typeof anOrganization>>

  const aRoute = async ({ developer, space, domain }: World, more: object) =>
    (
      await developer.post('/v3/routes', {
        ...more,
        relationships: { space: { data: { guid: space.guid } }, domain: { data: { guid: domain.guid } } },
      })
    ).body
  const aRunningApp = async (spaceGuid: string, routeGuid: string, state = 'running') => {
    const { db, pool } = api.context
    const app = await db.app.create({
      data: { guid: randomUUID(), name: `app-${randomUUID().slice(0, 6)}`, spaceGuid, state: 'STARTED' },
    })
    await db.routeDestination.create({ data: { guid: randomUUID(), routeGuid, appGuid: app.guid } })
    await execute(
      pool,
      sql`INSERT INTO actual_instances (process_guid, spec_version, index, app_guid, process_type, spec_guid, instance_guid, cell_id, state,
            routable, endpoint, memory_mb, disk_mb)
          VALUES (${app.guid}, 1, 0, ${app.guid}, 'web', 's', ${randomUUID()}, 'cell-1', ${state}, ${state === 'running'}, '{}', 64, 64)`,
    )
    return app
  }
  const explain = async (who: World['developer'], address: string) =>
    (await who.get(`/bloomery/v1/routes/explanation?address=${encodeURIComponent(address)}`)).body

  it('says which route serves it, with what, and which others were considered', async () => {
    const world = await anOrganization(api)
    const host = `shop-${randomUUID().slice(0, 6)}`
    const root = await aRoute(world, { host })
    const cart = await aRoute(world, { host, path: '/cart' })
    const app = await aRunningApp(world.space.guid, root.guid)
    const name = `${host}.${world.domain.name}`
    expect(await explain(world.developer, `https://${name}/x`)).toMatchObject({
      outcome: 'served',
      status: null,
      route: { guid: root.guid, url: name },
      destinations: [{ app: { name: app.name, state: 'STARTED' }, instances: [{ index: 0, state: 'running', cell: 'cell-1' }] }],
      considered: [{ url: `${name}/cart`, reason: 'its path does not match' }],
    })
    // A route that nothing serves does not hide the one above it.
    expect(await explain(world.developer, `${name}/cart/1`)).toMatchObject({
      outcome: 'served',
      route: { guid: root.guid },
      considered: [{ reason: 'it has no instance that takes requests' }],
    })
    await aRunningApp(world.space.guid, cart.guid)
    expect(await explain(world.developer, `${name}/CART/1`)).toMatchObject({ route: { guid: cart.guid } })
  })

  it('says why it is answered with 404', async () => {
    const world = await anOrganization(api)
    const host = `gone-${randomUUID().slice(0, 6)}`
    const name = `${host}.${world.domain.name}`
    expect(await explain(world.developer, name)).toMatchObject({
      outcome: 'no-route',
      status: 404,
      next_step: expect.any(String),
    })
    const { guid } = await aRoute(world, { host })
    expect(await explain(world.developer, name)).toMatchObject({ outcome: 'no-destination', status: 404, route: { guid } })
    await aRunningApp(world.space.guid, guid, 'crashed')
    expect(await explain(world.developer, name)).toMatchObject({ outcome: 'no-instance', status: 404 })
  })

  it('tells nothing of spaces that the caller does not see', async () => {
    const [mine, theirs] = [await anOrganization(api), await anOrganization(api)]
    const host = `hers-${randomUUID().slice(0, 6)}`
    await aRoute(theirs, { host })
    const seen = await explain(mine.developer, `${host}.${mine.domain.name}`)
    expect(seen).toMatchObject({ outcome: 'elsewhere', route: null, destinations: [], considered: [] })
    expect((await explain(mine.admin, `${host}.${mine.domain.name}`)).outcome).toBe('no-destination')
  })

  it('knows the platform’s names, and routers', async () => {
    const { developer } = await anOrganization(api)
    await execute(
      api.context.pool,
      sql`INSERT INTO routers (id, feed_epoch, applied_revision) VALUES ('main-w0', 3, 9) ON CONFLICT DO NOTHING`,
    )
    expect(await explain(developer, 'api.bloomery.test')).toMatchObject({
      outcome: 'platform',
      routers: [{ id: 'main-w0', feed_epoch: '3', applied_revision: '9', silent: false }],
    })
    expect((await developer.get('/bloomery/v1/routes/explanation?address=a%20b')).status).toBe(422)
  })
})
