import { parseIpNetwork } from '@bloomery/domain'
import { createInstance, openPlans, registerBroker, ScriptedBroker } from '../../service-operations/registered-broker.fixture.js'
import { anOrganization, startTestApi, type Caller, type TestApi } from '../../testing.fixture.js'

describe('service brokers and the marketplace', () => {
  let api: TestApi
  let broker: ScriptedBroker
  let place: Awaited<ReturnType<typeof anOrganization>>
  beforeAll(async () => {
    ;[api, broker] = await Promise.all([
      startTestApi({
        services: {
          polling: { intervalSeconds: 0.05, backoffRate: 1, maxIntervalSeconds: 1, maxDurationSeconds: 60 },
          brokerTimeoutMs: 2_000,
          perBroker: 16,
          callsPerUser: 0,
          checkParameters: false,
          tenantAddresses: { allowed: [], own: [] },
        },
      }),
      ScriptedBroker.start(),
    ])
    place = await anOrganization(api)
  })
  beforeEach(() => broker.reset())
  afterAll(async () => {
    await api.close()
    await broker.stop()
  })
  const plan = (id: string, name: string) => ({ id, name, description: name })
  const service = (id: string, name: string, plans: object[], more: object = {}) => ({
    id,
    name,
    description: name,
    bindable: true,
    plans,
    ...more,
  })
  const resync = async (guid: string) => {
    const credentials = { username: broker.username, password: broker.password }
    const changed = await place.admin.patch(`/v3/service_brokers/${guid}`, { authentication: { type: 'basic', credentials } })
    return place.admin.job(changed)
  }

  it('is registered by an operator, encrypted at rest, and told of in events without its password', async () => {
    const { admin, developer } = place
    const { guid, name, job } = await registerBroker(admin, broker)
    expect(job).toMatchObject({ state: 'COMPLETE', operation: 'service_broker.catalog.synchronize' })
    expect((await admin.get(`/v3/service_brokers/${guid}`)).body).toMatchObject({ name, url: broker.url, relationships: {} })
    const row = await api.context.db.serviceBroker.findUniqueOrThrow({ where: { guid } })
    expect(row.state).toBe('AVAILABLE')
    expect(JSON.stringify(row)).not.toContain(broker.password)
    const events = await api.context.db.auditEvent.findMany({ where: { targetGuid: guid } })
    expect(events).toMatchObject([{ type: 'audit.service_broker.create', data: { request: { name, url: broker.url } } }])
    expect(JSON.stringify(events.map(({ data }) => data))).not.toContain(broker.password)
    expect((await developer.get(`/v3/service_brokers/${guid}`)).status).toBe(404)
    expect((await developer.get('/v3/service_brokers')).body.resources).toEqual([])
    expect((await developer.post('/v3/service_brokers', bodyOf('x'))).status).toBe(403)
    const again = await admin.post('/v3/service_brokers', bodyOf(name))
    expect([again.status, again.body.errors[0].detail]).toEqual([422, 'Name must be unique'])
  })
  const bodyOf = (name: string, more: object = {}) => ({
    name,
    url: broker.url,
    authentication: { type: 'basic', credentials: { username: 'u', password: 'p' } },
    ...more,
  })

  it.each<[object, string]>([
    [{ url: 'ftp://x' }, "Url 'ftp://x' must be a valid url"],
    [{ url: 'http://user:pw@x' }, 'Url must not contain authentication'],
    [{ name: '' }, 'Name must not be empty string'],
    [{ authentication: { type: 'token', credentials: {} } }, "must be one of ['basic']"],
    [{ colour: 1 }, "Unknown field(s): 'colour'"],
  ])('refuses %j', async (change, words) => {
    const answer = await place.admin.post('/v3/service_brokers', bodyOf('bad', change))
    expect(answer.status).toBe(422)
    expect(JSON.stringify(answer.body.errors)).toContain(words)
  })

  it.each<[string, (script: ScriptedBroker) => void, string, string]>([
    [
      'wrong credentials',
      (b) => b.script('catalog', { status: 401, body: {} }),
      'CF-ServiceBrokerApiAuthenticationFailed',
      'Authentication with the service broker failed',
    ],
    [
      '500',
      (b) => b.script('catalog', { status: 500, body: { description: 'sick' } }),
      'CF-ServiceBrokerBadResponse',
      'Service broker error: sick',
    ],
    [
      '404',
      (b) => b.script('catalog', { status: 404, body: 'x' }),
      'CF-ServiceBrokerRequestRejected',
      'Status Code: 404 Not Found',
    ],
    [
      'malformed JSON',
      (b) => b.script('catalog', { body: '{"services":' }),
      'CF-ServiceBrokerRequestMalformed',
      'expected valid JSON object',
    ],
    ['a hang', (b) => b.script('catalog', { hang: true }), 'CF-ServiceBrokerApiTimeout', 'timed out'],
    ['a slow-loris', (b) => b.script('catalog', { trickleMs: 30 }), 'CF-ServiceBrokerApiTimeout', 'timed out'],
    ['10 MB', (b) => b.script('catalog', { padBytes: 10_000_000 }), 'CF-ServiceBrokerBadResponse', 'larger than'],
    [
      'a redirect elsewhere',
      (b) => b.script('catalog', { status: 302, headers: { location: 'http://127.0.0.9:9/v2/catalog' } }),
      'CF-ServiceBrokerBadResponse',
      'redirects to another address',
    ],
    [
      'an empty catalog',
      (b) => (b.catalog = { services: [] }),
      'CF-ServiceBrokerCatalogInvalid',
      'must provide at least one service',
    ],
    [
      'duplicate ids',
      (b) => (b.catalog = { services: [service('s', 'a', [plan('p', 'x')]), service('s', 'b', [plan('p', 'x')])] }),
      'CF-ServiceBrokerCatalogInvalid',
      'Service ids must be unique',
    ],
    [
      'wrong types',
      (b) => (b.catalog = { services: [service('s', 'a', [plan('p', 'x')], { bindable: 'yes' })] }),
      'CF-ServiceBrokerCatalogInvalid',
      'must be a boolean',
    ],
  ])('a broker with %s: the job says why, and no catalog is left', async (_name, prepare, title, words) => {
    prepare(broker)
    const { guid, job } = await registerBroker(place.admin, broker)
    expect(job.state).toBe('FAILED')
    expect(job.errors).toHaveLength(1)
    expect(job.errors[0].title).toBe(title)
    expect(job.errors[0].detail).toContain(words)
    expect(await api.context.db.serviceBroker.findUniqueOrThrow({ where: { guid } })).toMatchObject({
      state: 'SYNCHRONIZATION_FAILED',
    })
    expect(await api.context.db.serviceOffering.count({ where: { brokerGuid: guid } })).toBe(0)
    expect((await place.admin.job(await place.admin.delete(`/v3/service_brokers/${guid}`))).state).toBe('COMPLETE')
  })

  it('warns of offerings that give volumes: apps cannot be bound to them', async () => {
    broker.catalog = {
      services: [
        service('v1', 'volumes', [plan('vp1', 'a')], { requires: ['volume_mount'] }),
        service('v2', 'others', [plan('vp2', 'a')]),
      ],
    }
    const { job } = await registerBroker(place.admin, broker, { name: 'volume-broker' })
    expect(job).toMatchObject({
      state: 'COMPLETE',
      warnings: [
        { detail: expect.stringMatching(/^Service volumes is declared to be a volume mount service but support .* is disabled/) },
      ],
    })
  })

  it('synchronises by ids: renames, adds, removes, and keeps what has instances with a warning', async () => {
    const { admin, developer, space } = place
    broker.catalog = { services: [service('s1', 'sync', [plan('p1', 'a'), plan('p2', 'b'), plan('p3', 'c')])] }
    const { guid, name } = await registerBroker(admin, broker, { name: 'sync-broker' })
    const plans = await openPlans(admin, name)
    await developer.job(await createInstance(developer, space.guid, plans['b']))
    broker.catalog = { services: [service('s1', 'renamed', [plan('p1', 'x')]), service('s2', 'new', [plan('p9', 'n')])] }
    const job = await resync(guid)
    expect(job).toMatchObject({ state: 'COMPLETE', operation: 'service_broker.update' })
    expect(job.warnings[0].detail).toContain('Service Offering: sync\nPlans deactivated: b')
    const after = (await admin.get(`/v3/service_plans?service_broker_names=${name}&order_by=name`)).body.resources
    expect(
      after.map((each: { name: string; available: boolean; visibility_type: string }) => [
        each.name,
        each.available,
        each.visibility_type,
      ]),
    ).toEqual([
      ['b', false, 'public'],
      ['n', true, 'admin'],
      ['x', true, 'public'],
    ])
    const offerings = (await admin.get(`/v3/service_offerings?service_broker_names=${name}&order_by=name`)).body.resources
    expect(offerings.map((each: { name: string }) => each.name)).toEqual(['new', 'renamed'])
    // A bad catalog changes nothing.
    broker.catalog = { services: [service('s1', 'worse', [])] }
    expect((await resync(guid)).state).toBe('FAILED')
    expect((await admin.get(`/v3/service_offerings?service_broker_names=${name}&names=renamed`)).body.resources).toHaveLength(1)
    expect(await api.context.db.serviceBroker.findUniqueOrThrow({ where: { guid } })).toMatchObject({ state: 'AVAILABLE' })
    const refused = await admin.delete(`/v3/service_brokers/${guid}`)
    expect([refused.status, refused.body.errors[0]]).toMatchObject([
      422,
      { title: 'CF-ServiceBrokerNotRemovable', detail: `Can not remove brokers that have associated service instances: ${name}` },
    ])
    const inactive = await createInstance(developer, space.guid, plans['b'])
    expect(inactive.body.errors[0].detail).toContain("has been removed from the service broker's catalog")
  })

  it('is renamed without a look at the catalog, and labelled without a job', async () => {
    const { admin } = place
    const { guid } = await registerBroker(admin, broker)
    broker.script('catalog', { status: 500 })
    expect((await admin.job(await admin.patch(`/v3/service_brokers/${guid}`, { name: 'other-name' }))).state).toBe('COMPLETE')
    const labelled = await admin.patch(`/v3/service_brokers/${guid}`, { metadata: { labels: { a: 'b' } } })
    expect([labelled.status, labelled.headers['location'], labelled.body.metadata.labels]).toEqual([200, undefined, { a: 'b' }])
    const failed = await admin.job(await admin.patch(`/v3/service_brokers/${guid}`, { url: `${broker.url}/elsewhere` }))
    expect(failed.state).toBe('FAILED')
    expect((await admin.get(`/v3/service_brokers/${guid}`)).body).toMatchObject({ name: 'other-name', url: broker.url })
  })

  it('opens plans to all, to organizations, and to nobody', async () => {
    const { admin, developer, organization, stranger } = place
    const { name } = await registerBroker(admin, broker)
    const [first] = (await admin.get(`/v3/service_plans?service_broker_names=${name}&names=small`)).body.resources
    const visibility = `/v3/service_plans/${first.guid}/visibility`
    const seenBy = async (caller: typeof developer, more = '') =>
      (await caller.get(`/v3/service_plans?service_broker_names=${name}&names=small${more}`)).body.resources.length
    const seen = async () => [await seenBy(developer), await seenBy(stranger), await seenBy(admin)]
    expect(first.visibility_type).toBe('admin')
    expect(await seen()).toEqual([0, 0, 1])
    expect((await developer.get(visibility)).status).toBe(404)
    const one = { type: 'organization', organizations: [{ guid: organization.guid }] }
    expect((await admin.post(visibility, one)).body).toEqual({ type: 'organization' })
    expect((await admin.get(visibility)).body).toEqual({
      type: 'organization',
      organizations: [{ guid: organization.guid, name: organization.name }],
    })
    expect(await seen()).toEqual([1, 0, 1])
    expect(await seenBy(developer, `&space_guids=${place.space.guid}`)).toBe(1)
    expect(await seenBy(admin, '&space_guids=elsewhere')).toBe(0)
    expect((await developer.post(visibility, { type: 'public' })).status).toBe(403)
    const other = await anOrganization(api)
    await admin.post(visibility, { type: 'organization', organizations: [{ guid: other.organization.guid }] })
    expect((await admin.get(visibility)).body.organizations).toHaveLength(2)
    expect((await admin.patch(visibility, one)).body.organizations).toHaveLength(1)
    expect((await admin.delete(`${visibility}/${organization.guid}`)).status).toBe(204)
    expect((await admin.get(visibility)).body).toEqual({ type: 'admin' })
    expect((await admin.post(visibility, { type: 'public' })).body).toEqual({ type: 'public' })
    expect(await seen()).toEqual([1, 1, 1])
    expect((await api.app.inject(`/v3/service_plans?service_broker_names=${name}`)).json().resources).toHaveLength(1)
    expect((await admin.post(visibility, { type: 'x' })).status).toBe(400)
    expect((await admin.post(visibility, { type: 'organization', organizations: [{ guid: 'no' }] })).status).toBe(422)
  })

  it('opens the marketplace to whoever has not logged in, unless an operator closes it', async () => {
    const status = async () => (await api.app.inject('/v3/service_plans')).statusCode
    expect(await status()).toBe(200)
    await place.admin.patch('/v3/feature_flags/hide_marketplace_from_unauthenticated_users', { enabled: true })
    expect(await status()).toBe(401)
    expect((await place.admin.get('/v3/service_plans')).status).toBe(200)
    await place.admin.patch('/v3/feature_flags/hide_marketplace_from_unauthenticated_users', { enabled: false })
  })

  it('answers the marketplace in the client’s words: offerings, brokers, costs; the same number of queries for any number', async () => {
    const { admin, developer, space } = place
    const { name } = await registerBroker(admin, broker)
    await openPlans(admin, name)
    const url = `/v3/service_plans?include=service_offering&fields%5Bservice_offering.service_broker%5D=name%2Cguid&available=true&space_guids=${space.guid}&per_page=5000&service_broker_names=${name}&order_by=name`
    const { body } = await developer.get(url)
    expect(body.resources).toMatchObject([
      {
        name: 'large',
        free: false,
        costs: [{ currency: 'USD', amount: 9.5, unit: 'MONTHLY' }],
        maintenance_info: { version: '1.0.0' },
        broker_catalog: { id: 'plan-large', features: { bindable: true, plan_updateable: true } },
      },
      { name: 'only', broker_catalog: { features: { bindable: false } } },
      { name: 'small', schemas: { service_instance: { create: { parameters: {} } } } },
    ])
    expect(body.included.service_offerings.map((each: { name: string }) => each.name).sort()).toEqual(['db', 'plain'])
    expect(body.included.service_offerings[0]).toMatchObject({ shareable: true, documentation_url: '' })
    expect(body.included.service_brokers).toEqual([{ guid: expect.any(String), name }])
    const few = await api.countQueries(() => developer.get(`${url}&names=small`))
    const many = await api.countQueries(() => developer.get(url))
    expect(many).toBe(few)
    const access = await admin.get(`/v3/service_plans?include=space.organization&service_broker_names=${name}`)
    expect(access.body.included).toEqual({ spaces: [], organizations: [] })
    const offerings = await admin.get(
      `/v3/service_offerings?fields%5Bservice_broker%5D=name%2Cguid&names=db&service_broker_names=${name}&page=1&per_page=2`,
    )
    expect(offerings.body.included.service_brokers).toHaveLength(1)
    expect((await admin.get('/v3/service_offerings?fields%5Bservice_broker%5D=url')).status).toBe(400)
  })

  it('serves a space alone, never leads into the platform’s networks, and goes with its space', async () => {
    const { developer, auditor, space, admin } = place
    const refused = await registerBroker(developer, broker, { spaceGuid: space.guid, name: 'inside' })
    expect(refused.job).toMatchObject({ state: 'FAILED', errors: [{ title: 'CF-ServiceBrokerApiUnreachable' }] })
    expect(refused.job.errors[0].detail).toContain('loopback')
    expect(broker.requests).toEqual([])
    expect((await auditor.get(`/v3/service_brokers/${refused.guid}`)).status).toBe(200)
    expect((await auditor.delete(`/v3/service_brokers/${refused.guid}`)).status).toBe(403)
    await admin.patch('/v3/feature_flags/space_scoped_private_broker_creation', { enabled: false })
    const off = await developer.post(
      '/v3/service_brokers',
      bodyOf('y', { relationships: { space: { data: { guid: space.guid } } } }),
    )
    expect(off.body.errors[0].title).toBe('CF-FeatureDisabled')
    await admin.patch('/v3/feature_flags/space_scoped_private_broker_creation', { enabled: true })
    await developer.job(await developer.delete(`/v3/service_brokers/${refused.guid}`))
  })

  it('serves a space where the operator allows its address, and nobody else', async () => {
    const open = await startTestApi({
      services: {
        ...api.context.settings.services,
        tenantAddresses: {
          allowed: [{ network: parseIpNetwork('127.0.0.0/8') ?? raise() }],
          own: [],
        },
      },
    })
    const home = await anOrganization(open)
    const elsewhere = await anOrganization(open)
    const { guid, name, job } = await registerBroker(home.developer, broker, { spaceGuid: home.space.guid })
    expect(job.state).toBe('COMPLETE')
    const plansOf = async (caller: Caller, more = '') =>
      (await caller.get(`/v3/service_plans?service_broker_names=${name}&names=small${more}`)).body.resources
    const [plan] = await plansOf(home.developer, `&space_guids=${home.space.guid}`)
    expect(plan).toMatchObject({ visibility_type: 'space', relationships: { space: { data: { guid: home.space.guid } } } })
    expect(await plansOf(elsewhere.developer)).toEqual([])
    expect(await plansOf(home.admin, `&space_guids=${elsewhere.space.guid}`)).toEqual([])
    expect((await home.developer.get(`/v3/service_plans/${plan.guid}/visibility`)).body).toEqual({
      type: 'space',
      space: { guid: home.space.guid, name: home.space.name },
    })
    const refused = await home.developer.post(`/v3/service_plans/${plan.guid}/visibility`, { type: 'public' })
    expect(refused.body.errors[0].detail).toBe("cannot update plans with visibility type 'space'")
    expect((await home.developer.job(await createInstance(home.developer, home.space.guid, plan.guid))).state).toBe('COMPLETE')
    expect((await createInstance(home.admin, elsewhere.space.guid, plan.guid)).body.errors[0].detail).toContain(
      'space-scoped broker',
    )
    const access = await home.admin.get(`/v3/service_plans?include=space.organization&service_broker_names=${name}`)
    expect(access.body.included).toMatchObject({
      spaces: [{ guid: home.space.guid }],
      organizations: [{ guid: home.organization.guid }],
    })
    expect((await home.admin.job(await home.admin.delete(`/v3/spaces/${home.space.guid}`))).state).toBe('COMPLETE')
    expect(await open.context.db.serviceBroker.findUnique({ where: { guid } })).toBeNull()
    await open.close()
  })
  const raise = (): never => {
    throw new Error('no network')
  }

  it('makes the client of a dashboard, and refuses one that is another’s', async () => {
    const { admin } = place
    const dashboard = { id: 'dash', secret: 'dash-secret', redirect_uri: 'https://dash.example.com' }
    broker.catalog = { services: [service('d1', 'with-dashboard', [plan('dp1', 'x')], { dashboard_client: dashboard })] }
    const first = await registerBroker(admin, broker)
    expect(first.job.state).toBe('COMPLETE')
    expect(await api.context.db.oauthClient.findUniqueOrThrow({ where: { clientId: 'dash' } })).toMatchObject({
      redirectUris: ['https://dash.example.com'],
    })
    const second = await registerBroker(admin, broker)
    expect(second.job.errors[0].detail).toContain("'dash' is in use")
    await admin.job(await admin.delete(`/v3/service_brokers/${first.guid}`))
    expect(await api.context.db.oauthClient.findUnique({ where: { clientId: 'dash' } })).toBeNull()
  })

  it('is purged of an offering with all its instances', async () => {
    const { admin, developer, space } = place
    const { name } = await registerBroker(admin, broker)
    const plans = await openPlans(admin, name)
    const created = await developer.job(await createInstance(developer, space.guid, plans['small'], { name: 'to-be-purged' }))
    expect(created.state).toBe('COMPLETE')
    const [offering] = (await admin.get(`/v3/service_offerings?names=db&service_broker_names=${name}`)).body.resources
    expect((await developer.delete(`/v3/service_offerings/${offering.guid}?purge=true`)).status).toBe(403)
    expect((await admin.delete(`/v3/service_offerings/${offering.guid}`)).status).toBe(422)
    expect((await admin.delete(`/v3/service_offerings/${offering.guid}?purge=true`)).status).toBe(204)
    expect((await developer.get('/v3/service_instances?names=to-be-purged')).body.resources).toEqual([])
    expect(broker.seen('deprovision')).toEqual([])
  })
})
