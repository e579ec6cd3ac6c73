import { randomUUID } from 'node:crypto'
import { anOrganization, startTestApi, type TestApi } from '../../testing.fixture.js'

describe('sharing and moving routes', () => {
  let api: TestApi
  beforeAll(async () => {
    api = await startTestApi()
  })
  afterAll(() => api.close())
  const detailOf = async (answer: Promise<{ body: { errors: { detail: string }[] } }>) => (await answer).body.errors[0]?.detail
  const enable = async () =>
    api.context.db.featureFlag.upsert({
      where: { name: 'route_sharing' },
      update: { enabled: true },
      create: { name: 'route_sharing', enabled: true },
    })

  /** Two spaces with an app each, a route in the first, and a developer of both. */
  async function scene() {
    const [mine, theirs] = [await anOrganization(api), await anOrganization(api)]
    await api.context.db.role.create({
      data: { guid: randomUUID(), type: 'space_developer', userGuid: mine.developer.guid, spaceGuid: theirs.space.guid },
    })
    const app = (spaceGuid: string) => api.context.db.app.create({ data: { guid: randomUUID(), name: randomUUID(), spaceGuid } })
    const route = (
      await mine.developer.post('/v3/routes', {
        host: `h-${randomUUID()}`,
        relationships: { space: { data: { guid: mine.space.guid } }, domain: { data: { guid: mine.domain.guid } } },
      })
    ).body
    const path = `/v3/routes/${route.guid}`
    return { mine, theirs, route, path, own: await app(mine.space.guid), other: await app(theirs.space.guid) }
  }
  const spaces = (...guids: string[]) => ({ data: guids.map((guid) => ({ guid })) })

  it('is off until an admin allows it', async () => {
    const { mine, theirs, path } = await scene()
    expect(await detailOf(mine.developer.post(`${path}/relationships/shared_spaces`, spaces(theirs.space.guid)))).toBe(
      'Feature Disabled: route_sharing',
    )
  })

  it('lets the other space see the route and map its own apps, and no others', async () => {
    await enable()
    const { mine, theirs, path, own, other, route } = await scene()
    const map = (who: typeof mine.developer, guid: string) =>
      who.post(`${path}/destinations`, { destinations: [{ app: { guid } }] })
    expect(await detailOf(map(mine.developer, other.guid))).toMatch(/must be in either the route's space or/)
    expect((await theirs.developer.get(path)).status).toBe(404)
    const shared = await mine.developer.post(`${path}/relationships/shared_spaces`, spaces(theirs.space.guid))
    expect(shared.body).toMatchObject({ data: [{ guid: theirs.space.guid }] })
    expect((await theirs.developer.get(path)).body.relationships.shared_spaces.data).toEqual([{ guid: theirs.space.guid }])
    expect((await theirs.developer.get(`/v3/routes?guids=${route.guid}`)).body.resources).toHaveLength(1)
    expect((await map(theirs.developer, other.guid)).status).toBe(200)
    expect((await map(mine.developer, own.guid)).body.destinations).toHaveLength(2)
    expect((await map(theirs.auditor, other.guid)).status).toBe(404)
    const { destinations } = (await theirs.developer.get(`${path}/destinations`)).body
    const of = (guid: string) => destinations.find((each: { app: { guid: string } }) => each.app.guid === guid).guid
    expect((await theirs.developer.delete(`${path}/destinations/${of(own.guid)}`)).status).toBe(403)
    expect((await theirs.developer.patch(path, { metadata: {} })).status).toBe(404)
    const end = await mine.developer.delete(`${path}/relationships/shared_spaces/${theirs.space.guid}`)
    expect([end.status, end.text]).toEqual([204, ''])
    expect((await mine.developer.get(`${path}/destinations`)).body.destinations).toMatchObject([{ app: { guid: own.guid } }])
  })

  it('says why not', async () => {
    await enable()
    const { mine, theirs, path, route } = await scene()
    const share = (guid: string) => detailOf(mine.developer.post(`${path}/relationships/shared_spaces`, spaces(guid)))
    expect(await share('none')).toBe(
      `Unable to share route ${route.url} with spaces ['none']. Ensure the spaces exist and that you have access to them.`,
    )
    expect(await share(mine.space.guid)).toMatch(/cannot be shared into the space where they were created/)
    const audited = await anOrganization(api)
    await api.context.db.role.create({
      data: { guid: randomUUID(), type: 'space_auditor', userGuid: mine.developer.guid, spaceGuid: audited.space.guid },
    })
    expect(await share(audited.space.guid)).toMatch(/Write permission is required/)
    const move = (guid: string) => detailOf(mine.developer.patch(`${path}/relationships/space`, { data: { guid } }))
    expect(await move('none')).toBe(
      `Unable to transfer owner of route '${route.url}' to space 'none'. Ensure the space exists and that you have access to it.`,
    )
    expect(await move(audited.space.guid)).toMatch(/You don't have write permission for the target space\.$/)
    expect(theirs.space.guid).not.toBe(mine.space.guid)
  })

  it('moves to another space, and stays shared with the one it came from', async () => {
    await enable()
    const { mine, theirs, path, own } = await scene()
    await mine.developer.post(`${path}/destinations`, { destinations: [{ app: { guid: own.guid } }] })
    const move = () => mine.developer.patch(`${path}/relationships/space`, { data: { guid: theirs.space.guid } })
    expect((await move()).status).toBe(204)
    expect((await move()).status).toBe(204)
    expect((await mine.developer.get(path)).body).toMatchObject({
      relationships: { space: { data: { guid: theirs.space.guid } }, shared_spaces: { data: [{ guid: mine.space.guid }] } },
      destinations: [{ app: { guid: own.guid } }],
    })
  })
})
