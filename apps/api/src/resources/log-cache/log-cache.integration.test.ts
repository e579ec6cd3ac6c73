import { createApp } from '../push.fixture.js'
import { anOrganization, startTestApi, type TestApi } from '../../testing.fixture.js'

/** Go's zero time in nanoseconds, with which the client asks for everything. */
const FROM_THE_BEGINNING = '-6795364578871345152'

describe('log-cache', () => {
  let api: TestApi
  let place: Awaited<ReturnType<typeof anOrganization>>
  let guid: string
  beforeAll(async () => {
    api = await startTestApi()
    place = await anOrganization(api)
    guid = (await createApp(place.developer, place.space.guid)).guid
  })
  beforeEach(() => {
    api.logs.batch = []
    api.logs.reads.length = 0
    api.logs.waits.length = 0
  })
  afterAll(() => api.close())
  const envelope = {
    timestamp: '1700000000123456789',
    source_id: 'app',
    instance_id: '0',
    deprecated_tags: {},
    tags: { source_type: 'APP/PROC/WEB' },
    log: { payload: 'aGVsbG8=', type: 'OUT' },
  }

  it('tells a version, so that the client reads at all', async () => {
    expect((await place.stranger.get('/api/v1/info')).body).toEqual({
      version: '3.0.0',
      vm_uptime: expect.stringMatching(/^\d+$/),
    })
  })

  it('passes on what the store says, and what the client asked, to whoever may see the app', async () => {
    api.logs.batch = [envelope]
    const query = `start_time=${FROM_THE_BEGINNING}&envelope_types=LOG&limit=1000&descending=true`
    for (const caller of [place.developer, place.auditor, place.admin])
      expect((await caller.get(`/api/v1/read/${guid}?${query}`)).body).toEqual({ envelopes: { batch: [envelope] } })
    expect(api.logs.reads[0]).toEqual([guid, query])
  })

  it('hides an app’s lines like the app', async () => {
    expect((await place.stranger.get(`/api/v1/read/${guid}`)).status).toBe(404)
    expect((await place.developer.get('/api/v1/read/gone')).status).toBe(404)
    expect((await place.admin.get('/api/v1/read/gone')).status).toBe(200)
    expect((await api.app.inject({ url: `/api/v1/read/${guid}` })).statusCode).toBe(401)
    expect(api.logs.reads).toHaveLength(1)
  })

  it.each([
    ['a moment', {}, 1_000],
    ['as long as it prefers', { prefer: 'wait=3' }, 3_000],
    ['not for ever', { prefer: 'wait=900' }, 5_000],
  ])('lets a tail wait for its next line %s', async (_how, headers, waitMs) => {
    await place.developer.get(`/api/v1/read/${guid}?start_time=1`, headers)
    expect(api.logs.waits).toEqual([waitMs])
  })

  it('answers at once whoever looks back', async () => {
    await place.developer.get(`/api/v1/read/${guid}?start_time=1&limit=1000&descending=true`)
    await place.developer.get(`/api/v1/read/${guid}?start_time=1&end_time=2`)
    expect(api.logs.reads).toHaveLength(2)
    expect(api.logs.waits).toEqual([])
  })

  it('lists sources as far as one may see them', async () => {
    api.logs.sources = { [guid]: { count: '1' }, other: { count: '2' } }
    expect((await place.developer.get('/api/v1/meta')).body).toEqual({ meta: { [guid]: { count: '1' } } })
    expect((await place.stranger.get('/api/v1/meta')).body).toEqual({ meta: {} })
    expect(Object.keys((await place.admin.get('/api/v1/meta')).body.meta)).toEqual([guid, 'other'])
  })
})
