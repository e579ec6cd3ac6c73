import { randomUUID } from 'node:crypto'
import { recordAudit } from '../../http/audit.js'
import { anOrganization, startTestApi, type Caller, type TestApi } from '../../testing.fixture.js'

describe('audit events', () => {
  let api: TestApi
  let place: Awaited<ReturnType<typeof anOrganization>>
  const target = { type: 'app', guid: randomUUID(), name: 'watched' }
  const TYPES = ['audit.app.create', 'audit.app.update', 'audit.app.start']
  beforeAll(async () => {
    api = await startTestApi()
    place = await anOrganization(api)
    const { space, organization, developer } = place
    await api.context.db.$transaction(async (tx) => {
      for (const type of TYPES)
        await recordAudit(
          tx,
          { guid: developer.guid, name: developer.name, kind: 'user' },
          { type, target, spaceGuid: space.guid, organizationGuid: organization.guid, data: { request: { state: 'STARTED' } } },
        )
      await recordAudit(
        tx,
        { guid: 'x', name: 'x', kind: 'client' },
        { type: 'audit.buildpack.create', target: { type: 'buildpack', guid: randomUUID(), name: 'b' } },
      )
    })
  })
  afterAll(() => api.close())
  const typesSeen = async (caller: Caller, query = '') =>
    (await caller.get(`/v3/audit_events?target_guids=${target.guid}${query}`)).body.resources.map(
      (event: { type: string }) => event.type,
    )

  it('answers as the client asks, newest first though all have one time', async () => {
    expect(await typesSeen(place.developer, '&order_by=-created_at&page=1')).toEqual([...TYPES].reverse())
    expect(await typesSeen(place.developer)).toEqual(TYPES)
    const [event] = (await place.developer.get(`/v3/audit_events?types=audit.app.start&target_guids=${target.guid}`)).body
      .resources
    expect(event).toMatchObject({
      type: 'audit.app.start',
      actor: { guid: place.developer.guid, type: 'user', name: place.developer.name },
      target,
      data: { request: { state: 'STARTED' } },
      space: { guid: place.space.guid },
      organization: { guid: place.organization.guid },
    })
    expect(event.created_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    expect((await place.developer.get(`/v3/audit_events/${event.guid}`)).body).toEqual(event)
  })

  it('shows them to developers and auditors of the space, to auditors of the organization, and to nobody else', async () => {
    for (const caller of [await place.withRole('organization_auditor'), place.auditor])
      expect(await typesSeen(caller)).toEqual(TYPES)
    for (const role of ['organization_manager', 'organization_user', 'space_manager'])
      expect(await typesSeen(await place.withRole(role))).toEqual([])
    expect(await typesSeen(place.stranger)).toEqual([])
    expect(await typesSeen(place.admin)).toEqual(TYPES)
    const [{ guid }] = (await place.admin.get('/v3/audit_events?types=audit.buildpack.create')).body.resources
    expect((await place.developer.get(`/v3/audit_events/${guid}`)).body.errors[0]).toMatchObject({ detail: 'Event not found' })
    expect((await place.admin.get(`/v3/audit_events/${guid}`)).body).toMatchObject({ space: null, organization: null })
  })

  it('filters strictly', async () => {
    const { space, organization, admin } = place
    expect(await typesSeen(admin, `&space_guids=${space.guid}&organization_guids=${organization.guid}`)).toEqual(TYPES)
    expect(await typesSeen(admin, '&space_guids=')).toEqual([])
    expect(await typesSeen(admin, '&types=audit.app.create,audit.app.start')).toEqual(['audit.app.create', 'audit.app.start'])
    expect(await typesSeen(admin, '&created_ats[gt]=2999-01-01T00:00:00Z')).toEqual([])
    expect(await typesSeen(admin, '&updated_ats[lt]=2999-01-01T00:00:00Z&order_by=updated_at')).toEqual(TYPES)
    const others = await admin.get(`/v3/audit_events?target_guids[not]=${target.guid}`)
    expect(others.body.resources.map((event: { type: string }) => event.type)).toContain('audit.buildpack.create')
    expect((await admin.get('/v3/audit_events?actors=x')).status).toBe(400)
  })
})
