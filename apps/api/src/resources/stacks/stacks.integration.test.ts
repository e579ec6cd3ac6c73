import { randomUUID } from 'node:crypto'
import { createApp } from '../push.fixture.js'
import { anOrganization, startTestApi, type TestApi } from '../../testing.fixture.js'

describe('stacks', () => {
  let api: TestApi
  let place: Awaited<ReturnType<typeof anOrganization>>
  beforeAll(async () => {
    api = await startTestApi()
    place = await anOrganization(api)
    await api.context.db.stack.create({ data: { guid: randomUUID(), name: 'bookworm', description: 'Debian 12' } })
  })
  afterAll(() => api.close())
  const find = async (name: string) => (await place.developer.get(`/v3/stacks?names=${name}&page=1&per_page=1`)).body.resources[0]

  it('lists them to everybody, by name and by label', async () => {
    const { stranger, admin } = place
    const names = async (query: string) =>
      (await stranger.get(`/v3/stacks${query}`)).body.resources.map((stack: { name: string }) => stack.name)
    expect((await names('?order_by=name')).sort()).toEqual(['bookworm', 'cflinuxfs4'])
    expect(await names('?default=true')).toEqual(['cflinuxfs4'])
    expect(await names('?names=')).toEqual([])
    const { guid } = await find('bookworm')
    expect(
      (await admin.patch(`/v3/stacks/${guid}`, { metadata: { labels: { tier: 'new' } } })).headers['location'],
    ).toBeUndefined()
    expect(await names('?label_selector=tier%3Dnew')).toEqual(['bookworm'])
    expect((await stranger.get(`/v3/stacks/${guid}`)).body).toMatchObject({ name: 'bookworm', state: 'ACTIVE', default: false })
    expect((await stranger.get('/v3/stacks/none')).body.errors[0].detail).toBe('Stack not found')
  })

  it('shows the apps of a stack as far as one may see them', async () => {
    const { developer, stranger, space } = place
    const app = await createApp(developer, space.guid)
    const { guid } = await find('cflinuxfs4')
    expect((await developer.get(`/v3/stacks/${guid}/apps?names=${app.name}`)).body.resources).toMatchObject([{ guid: app.guid }])
    expect((await stranger.get(`/v3/stacks/${guid}/apps`)).body.resources).toEqual([])
  })

  it('is retired by admins; the reason goes with the state', async () => {
    const { developer, admin } = place
    const { guid } = await find('bookworm')
    const self = `/v3/stacks/${guid}`
    expect((await developer.patch(self, { state: 'DISABLED' })).status).toBe(403)
    expect((await admin.patch(self, { state: 'GONE' })).status).toBe(422)
    const retired = { state: 'DEPRECATED', state_reason: 'use the other' }
    expect((await admin.patch(self, retired)).body).toMatchObject(retired)
    expect((await admin.patch(self, { state: 'ACTIVE' })).body).toMatchObject({ state: 'ACTIVE', state_reason: null })
  })
})
