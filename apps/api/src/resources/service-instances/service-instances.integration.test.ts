import { randomUUID } from 'node:crypto'
import { anOrganization, startTestApi, type Caller, type TestApi } from '../../testing.fixture.js'
import { createApp } from '../push.fixture.js'

const aName = () => `s-${randomUUID().slice(0, 8)}`
/** The parameters that the client sends for `cf services` and `cf service`. */
const FIELDS_OF_SERVICES = new URLSearchParams({
  'fields[service_plan]': 'guid,name,relationships.service_offering',
  'fields[service_plan.service_offering]': 'guid,name,relationships.service_broker',
  'fields[service_plan.service_offering.service_broker]': 'guid,name',
  order_by: 'name',
  per_page: '5000',
}).toString()
const FIELDS_OF_SERVICE = new URLSearchParams({
  'fields[service_plan]': 'name,guid',
  'fields[service_plan.service_offering]': 'name,guid,description,tags,documentation_url',
  'fields[service_plan.service_offering.service_broker]': 'name,guid',
  'fields[space]': 'name,guid',
  'fields[space.organization]': 'name,guid',
}).toString()

describe('user-provided services', () => {
  let api: TestApi
  let place: Awaited<ReturnType<typeof anOrganization>>
  beforeAll(async () => {
    api = await startTestApi()
    place = await anOrganization(api)
  })
  afterAll(() => api.close())
  const bodyOf = (name: string, more: Record<string, unknown> = {}) => ({
    type: 'user-provided',
    name,
    relationships: { space: { data: { guid: place.space.guid } } },
    ...more,
  })
  const create = async (name = aName(), more: Record<string, unknown> = {}) => {
    const created = await place.developer.post('/v3/service_instances', bodyOf(name, more))
    expect(created.status).toBe(201)
    return created.body
  }
  const bind = (caller: Caller, app: string, service: string, more: Record<string, unknown> = {}) =>
    caller.post('/v3/service_credential_bindings', {
      type: 'app',
      relationships: { app: { data: { guid: app } }, service_instance: { data: { guid: service } } },
      ...more,
    })

  it('is made at once, without a job, shown to the space and hidden from others', async () => {
    const { developer, auditor, stranger, space, organization } = place
    const name = aName()
    const created = await developer.post('/v3/service_instances', bodyOf(name, { tags: ['a'], syslog_drain_url: 'syslog://d:1' }))
    expect(created.headers['location']).toBeUndefined()
    const { guid } = created.body
    expect(created).toMatchObject({
      status: 201,
      body: {
        name,
        type: 'user-provided',
        tags: ['a'],
        syslog_drain_url: 'syslog://d:1',
        route_service_url: null,
        last_operation: { type: 'create', state: 'succeeded', description: 'Operation succeeded' },
        relationships: { space: { data: { guid: space.guid } } },
      },
    })
    const listed = await auditor.get(`/v3/service_instances?names=${name}&space_guids=${space.guid}&${FIELDS_OF_SERVICES}`)
    expect(listed.body).toMatchObject({
      resources: [{ guid }],
      included: { service_plans: [], service_offerings: [], service_brokers: [] },
    })
    const shown = await auditor.get(`/v3/service_instances?names=${name}&${FIELDS_OF_SERVICE}`)
    expect(shown.body.included).toMatchObject({
      spaces: [{ guid: space.guid, name: 'dev' }],
      organizations: [{ guid: organization.guid, name: organization.name }],
    })
    expect((await stranger.get(`/v3/service_instances?names=${name}`)).body.resources).toEqual([])
    for (const path of ['', '/credentials', '/parameters', '/relationships/shared_spaces'])
      expect((await stranger.get(`/v3/service_instances/${guid}${path}`)).status).toBe(404)
    expect((await auditor.patch(`/v3/service_instances/${guid}`, { name: 'x' })).status).toBe(403)
    expect((await auditor.delete(`/v3/service_instances/${guid}`)).status).toBe(403)
    expect((await auditor.get(`/v3/service_instances/${guid}/permissions`)).body).toEqual({ read: true, manage: false })
    expect((await auditor.get(`/v3/service_instances/${guid}/relationships/shared_spaces`)).body).toMatchObject({ data: [] })
    expect((await auditor.get('/v3/service_instances?fields%5Bspace%5D=colour')).status).toBe(400)
  })

  it('keeps credentials encrypted, shows them to developers alone, and out of the audit', async () => {
    const { developer, auditor } = place
    const { guid } = await create(aName(), { credentials: { password: 'hidden-word' } })
    const { db } = api.context
    const row = await db.serviceInstance.findUniqueOrThrow({ where: { guid } })
    expect(JSON.stringify(row)).not.toContain('hidden-word')
    expect(Object.keys(row.credentialsEncrypted as object).sort()).toEqual(['ciphertext', 'kid', 'nonce'])
    expect((await developer.get(`/v3/service_instances/${guid}/credentials`)).body).toEqual({ password: 'hidden-word' })
    expect((await auditor.get(`/v3/service_instances/${guid}/credentials`)).status).toBe(403)
    const events = await db.auditEvent.findMany({ where: { targetGuid: guid } })
    expect(events).toMatchObject([
      {
        type: 'audit.user_provided_service_instance.create',
        targetType: 'user_provided_service_instance',
        data: { request: { credentials: '[PRIVATE DATA HIDDEN]' } },
      },
    ])
  })

  it('changes what is given, clears what is empty, and leaves what is absent', async () => {
    const { developer } = place
    const { guid } = await create(aName(), {
      credentials: { a: 1, b: 2 },
      tags: ['t'],
      syslog_drain_url: 'syslog-tls://d:6514',
      route_service_url: 'https://rs.example.com',
    })
    const self = `/v3/service_instances/${guid}`
    const name = aName()
    expect((await developer.patch(self, { name, credentials: { c: 3 } })).body).toMatchObject({
      name,
      tags: ['t'],
      syslog_drain_url: 'syslog-tls://d:6514',
      route_service_url: 'https://rs.example.com',
      last_operation: { type: 'update', state: 'succeeded' },
    })
    expect((await developer.get(`${self}/credentials`)).body).toEqual({ c: 3 })
    const cleared = { syslog_drain_url: '', route_service_url: '', tags: [], credentials: {} }
    const labelled = { metadata: { labels: { env: 'test' } } }
    expect((await developer.patch(self, { ...cleared, ...labelled })).body).toMatchObject({
      tags: [],
      syslog_drain_url: null,
      route_service_url: null,
      ...labelled,
    })
    expect((await developer.get(`${self}/credentials`)).body).toEqual({})
  })

  it.each([
    [{ name: '' }, "Name can't be blank"],
    [{ route_service_url: 'http://x.example.com' }, 'Route service url must be https'],
    [{ syslog_drain_url: 'not an address' }, 'Syslog drain url must be a valid URI'],
    [{ credentials: 'text' }, 'Credentials must be an object'],
    [{ tags: ['x'.repeat(3000)] }, 'Tags combined length of tags cannot exceed 2048'],
    [{ colour: 'red' }, "Unknown field(s): 'colour'"],
    [{ type: 'other' }, "Type must be one of 'managed', 'user-provided'"],
    [{ type: 'managed' }, 'Relationships.service_plan must be given'],
    [
      { relationships: { space: { data: { guid: 'nowhere' } } } },
      'Invalid space. Ensure that the space exists and you have access to it.',
    ],
  ])('refuses %j', async (change, detail) => {
    const answer = await place.developer.post('/v3/service_instances', { ...bodyOf(aName()), ...change })
    expect([answer.status, answer.body.errors.map((error: { detail: string }) => error.detail)]).toEqual([422, [detail]])
  })

  it('refuses a taken name in the words that the client knows, and where the flag is off', async () => {
    const { developer, admin, stranger } = place
    const { name } = await create()
    const taken = await developer.post('/v3/service_instances', bodyOf(name))
    expect(taken.status).toBe(422)
    expect(taken.body.errors[0].detail).toContain('The service instance name is taken')
    expect((await stranger.post('/v3/service_instances', bodyOf(aName()))).status).toBe(422)
    await admin.patch('/v3/feature_flags/service_instance_creation', { enabled: false })
    expect((await developer.post('/v3/service_instances', bodyOf(aName()))).body.errors[0].title).toBe('CF-FeatureDisabled')
    await admin.patch('/v3/feature_flags/service_instance_creation', { enabled: true })
  })

  it('is bound once, and appears in VCAP_SERVICES with all its fields', async () => {
    const { developer, auditor, space } = place
    const app = await createApp(developer, space.guid)
    const service = await create(aName(), { credentials: { uri: 'postgres://h/d' }, tags: ['sql', 'sql'] })
    const bound = await bind(developer, app.guid, service.guid, { name: 'main-db' })
    expect(bound.headers['location']).toBeUndefined()
    expect(bound).toMatchObject({
      status: 201,
      body: {
        type: 'app',
        name: 'main-db',
        last_operation: { type: 'create', state: 'succeeded' },
        relationships: { app: { data: { guid: app.guid } }, service_instance: { data: { guid: service.guid } } },
      },
    })
    const again = await bind(developer, app.guid, service.guid)
    expect([again.status, again.body.errors]).toEqual([
      422,
      [{ code: 10008, title: 'CF-UnprocessableEntity', detail: 'The app is already bound to the service instance' }],
    ])
    const { system_env_json: system } = (await developer.get(`/v3/apps/${app.guid}/env`)).body
    expect(system.VCAP_SERVICES).toEqual({
      'user-provided': [
        {
          label: 'user-provided',
          name: 'main-db',
          tags: ['sql'],
          instance_guid: service.guid,
          instance_name: service.name,
          binding_guid: bound.body.guid,
          binding_name: 'main-db',
          credentials: { uri: 'postgres://h/d' },
          syslog_drain_url: null,
          volume_mounts: [],
        },
      ],
    })
    const details = `/v3/service_credential_bindings/${bound.body.guid}/details`
    expect((await developer.get(details)).body).toEqual({ credentials: { uri: 'postgres://h/d' }, volume_mounts: [] })
    expect((await auditor.get(details)).status).toBe(403)
    // Changed credentials reach the bound app.
    await developer.patch(`/v3/service_instances/${service.guid}`, { credentials: { uri: 'mysql://h/d' } })
    expect((await developer.get(details)).body.credentials).toEqual({ uri: 'mysql://h/d' })
  })

  it('lists bindings with apps and services, by every filter that the client sends', async () => {
    const { developer, auditor, stranger, space } = place
    const app = await createApp(developer, space.guid)
    const service = await create()
    const { guid } = (await bind(developer, app.guid, service.guid, { name: 'named' })).body
    const query = `service_instance_guids=${service.guid}&include=app,service_instance`
    expect((await auditor.get(`/v3/service_credential_bindings?${query}`)).body).toMatchObject({
      resources: [{ guid }],
      included: {
        apps: [{ guid: app.guid, name: app.name, relationships: { space: { data: { guid: space.guid } } } }],
        service_instances: [{ guid: service.guid, name: service.name }],
      },
    })
    const found = async (filter: string) =>
      (await auditor.get(`/v3/service_credential_bindings?${filter}`)).body.resources.map((row: { guid: string }) => row.guid)
    for (const filter of [`app_guids=${app.guid}&type=app`, `app_names=${app.name}`, `service_instance_names=${service.name}`])
      expect(await found(filter)).toEqual([guid])
    expect(await found(`names=named&app_guids=${app.guid}`)).toEqual([guid])
    for (const filter of [`app_guids=${app.guid}&type=key`, 'service_instance_guids=', 'service_plan_names=small'])
      expect(await found(filter)).toEqual([])
    expect((await stranger.get(`/v3/service_credential_bindings?${query}`)).body.resources).toEqual([])
    expect((await stranger.get(`/v3/service_credential_bindings/${guid}`)).status).toBe(404)
    expect((await auditor.delete(`/v3/service_credential_bindings/${guid}`)).status).toBe(403)
    expect((await developer.patch(`/v3/service_credential_bindings/${guid}`, { metadata: { labels: { a: 'b' } } })).status).toBe(
      200,
    )
    expect((await developer.delete(`/v3/service_credential_bindings/${guid}`)).status).toBe(204)
    expect(await found(`app_guids=${app.guid}`)).toEqual([])
  })

  it('takes turns: several bindings of one app and service, the newest counts', async () => {
    const { developer, space } = place
    const app = await createApp(developer, space.guid)
    const service = await create()
    const first = (await bind(developer, app.guid, service.guid, { strategy: 'multiple' })).body
    const second = (await bind(developer, app.guid, service.guid, { strategy: 'multiple' })).body
    const env = (await developer.get(`/v3/apps/${app.guid}/env`)).body.system_env_json.VCAP_SERVICES['user-provided']
    expect(env).toMatchObject([{ binding_guid: second.guid }])
    expect((await bind(developer, app.guid, service.guid)).status).toBe(422)
    const other = await bind(developer, app.guid, service.guid, { strategy: 'multiple', name: 'other' })
    expect(other.body.errors[0].detail).toBe('The binding name cannot be changed for the same app and service instance')
    expect((await developer.delete(`/v3/service_credential_bindings/${first.guid}`)).status).toBe(204)
  })

  it('binds one app to one service once, however many ask at the same time', async () => {
    const { developer, space } = place
    const app = await createApp(developer, space.guid)
    const service = await create()
    const answers = await Promise.all(Array.from({ length: 5 }, () => bind(developer, app.guid, service.guid)))
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 422, 422, 422, 422])
  })

  it('refuses what cannot be bound', async () => {
    const { developer, auditor, stranger, space } = place
    const app = await createApp(developer, space.guid)
    const service = await create()
    const elsewhere = await anOrganization(api)
    const foreign = await createApp(elsewhere.developer, elsewhere.space.guid)
    const detail = async (answer: ReturnType<typeof bind>) => (await answer).body.errors[0].detail
    expect(await detail(bind(developer, foreign.guid, service.guid))).toBe(`The app could not be found: '${foreign.guid}'`)
    expect(await detail(bind(stranger, app.guid, service.guid))).toBe(
      `The service instance could not be found: '${service.guid}'`,
    )
    expect(await detail(bind(place.admin, foreign.guid, service.guid))).toContain('are in different spaces')
    expect((await bind(auditor, app.guid, service.guid)).status).toBe(403)
    expect(await detail(bind(developer, app.guid, service.guid, { parameters: { a: 1 } }))).toContain('not supported')
    expect(await detail(bind(developer, app.guid, service.guid, { type: 'key', name: 'k' }))).toContain("type 'key'")
    expect((await bind(developer, app.guid, service.guid, { name: 'with space' })).status).toBe(422)
    await bind(developer, app.guid, service.guid, { name: 'once' })
    expect(await detail(bind(developer, app.guid, (await create()).guid, { name: 'once' }))).toContain('must be unique')
    const parameters = await developer.get(`/v3/service_instances/${service.guid}/parameters`)
    expect([parameters.status, parameters.body.errors[0].detail]).toEqual([
      400,
      'This service does not support fetching service instance parameters.',
    ])
    const shared = await developer.post(`/v3/service_instances/${service.guid}/relationships/shared_spaces`, { data: [] })
    expect(shared.body.errors[0].detail).toBe('Feature Disabled: service_instance_sharing')
  })

  it('is deleted with its bindings, at once and for good', async () => {
    const { developer, space } = place
    const app = await createApp(developer, space.guid)
    const service = await create()
    const { guid } = (await bind(developer, app.guid, service.guid)).body
    const deleted = await developer.delete(`/v3/service_instances/${service.guid}`)
    expect([deleted.status, deleted.text, deleted.headers['location']]).toEqual([204, '', undefined])
    expect((await developer.get(`/v3/service_credential_bindings/${guid}`)).status).toBe(404)
    expect((await developer.get(`/v3/apps/${app.guid}/env`)).body.system_env_json.VCAP_SERVICES).toEqual({})
    const events = await api.context.db.auditEvent.findMany({ where: { targetGuid: { in: [guid, service.guid] } } })
    expect(events.map(({ type }) => type).sort()).toEqual([
      'audit.service_binding.create',
      'audit.service_binding.delete',
      'audit.user_provided_service_instance.create',
      'audit.user_provided_service_instance.delete',
    ])
  })
})
