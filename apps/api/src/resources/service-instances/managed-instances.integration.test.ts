import { jest } from '@jest/globals'
import { randomUUID } from 'node:crypto'
import { decodeIdentity } from '@bloomery/osb'
import {
  createInstance,
  openPlans,
  registerBroker,
  ScriptedBroker,
  until,
} from '../../service-operations/registered-broker.fixture.js'
import { anOrganization, startTestApi, TEST_SETTINGS, type Caller, type TestApi } from '../../testing.fixture.js'

const SETTINGS = {
  services: {
    ...TEST_SETTINGS.services,
    polling: { intervalSeconds: 0.05, backoffRate: 1, maxIntervalSeconds: 1, maxDurationSeconds: 60 },
    brokerTimeoutMs: 400,
    checkParameters: true,
    callsPerUser: 2,
  },
}

describe('instances of service brokers', () => {
  let api: TestApi
  let broker: ScriptedBroker
  let place: Awaited<ReturnType<typeof anOrganization>>
  let plans: Record<string, string>
  let brokerGuid: string
  beforeAll(async () => {
    ;[api, broker] = await Promise.all([startTestApi(SETTINGS), ScriptedBroker.start()])
    place = await anOrganization(api)
    const schema = {
      $schema: 'http://json-schema.org/draft-07/schema#',
      type: 'object',
      properties: { size: { type: 'integer' } },
    }
    const registered = broker.catalog as { services: { plans: object[] }[] }
    const [db, plain] = registered.services
    const [small, ...others] = db?.plans ?? []
    broker.catalog = {
      services: [
        { ...db, plans: [{ ...small, schemas: { service_instance: { create: { parameters: schema } } } }, ...others] },
        plain,
      ],
    }
    const { guid, name } = await registerBroker(place.admin, broker)
    brokerGuid = guid
    plans = await openPlans(place.admin, name)
  })
  beforeEach(() => broker.reset())
  afterAll(async () => {
    await api.close()
    await broker.stop()
  })

  const aName = () => `db-${randomUUID().slice(0, 8)}`
  const create = (more: Readonly<Record<string, unknown>> = {}, plan = plans['small']) =>
    createInstance(place.developer, place.space.guid, plan, more)
  const read = async (name: string) => (await place.developer.get(`/v3/service_instances?names=${name}`)).body.resources[0]
  const made = async (plan = 'small', more: Readonly<Record<string, unknown>> = {}) => {
    const name = aName()
    const job = await place.developer.job(await create({ name, ...more }, plans[plan]))
    expect(job).toMatchObject({ state: 'COMPLETE' })
    return read(name)
  }
  const remove = async (guid: string) => place.developer.job(await place.developer.delete(`/v3/service_instances/${guid}`))
  const eventsOf = async (guid: string) =>
    (await api.context.db.auditEvent.findMany({ where: { targetGuid: guid }, orderBy: { createdAt: 'asc' } })).map(
      ({ type }) => type,
    )
  /** The mitigator looks by itself in a platform; here when it is asked to. */
  const afterALook = async (guid: string) => {
    await api.orphans.look()
    return orphansOf(guid)
  }
  const orphansOf = (guid: string) => api.context.db.orphanMitigation.findMany({ where: { serviceInstanceGuid: guid } })

  it('makes one at once, with all that the broker should know', async () => {
    const { developer, space, organization } = place
    const name = aName()
    const accepted = await create({
      name,
      parameters: { size: 3 },
      tags: ['mine'],
      metadata: { annotations: { 'example.com/a': 'b', plain: 'c' } },
    })
    expect([accepted.status, accepted.headers['location']]).toEqual([202, expect.stringContaining('/v3/jobs/')])
    const job = await developer.job(accepted)
    expect(job).toMatchObject({ state: 'COMPLETE', operation: 'service_instance.create' })
    const instance = await read(name)
    expect(instance).toMatchObject({
      type: 'managed',
      name,
      tags: ['mine'],
      dashboard_url: `https://dashboard.example.com/${instance.guid}`,
      maintenance_info: { version: '1.0.0' },
      upgrade_available: false,
      last_operation: { type: 'create', state: 'succeeded' },
      relationships: { service_plan: { data: { guid: plans['small'] } } },
    })
    expect(job.links.service_instances.href).toContain(instance.guid)
    const [request] = broker.seen('provision', instance.guid)
    expect(request?.body).toEqual({
      service_id: 'service-db',
      plan_id: 'plan-small',
      organization_guid: organization.guid,
      space_guid: space.guid,
      parameters: { size: 3 },
      maintenance_info: { version: '1.0.0' },
      context: {
        platform: 'cloudfoundry',
        organization_guid: organization.guid,
        organization_name: organization.name,
        organization_annotations: {},
        space_guid: space.guid,
        space_name: space.name,
        space_annotations: {},
        instance_name: name,
        instance_annotations: { 'example.com/a': 'b' },
      },
    })
    expect(decodeIdentity(String(request?.headers['x-broker-api-originating-identity']))?.value).toEqual({
      user_id: developer.guid,
    })
    expect((await developer.get(`/v3/service_instances/${instance.guid}/parameters`)).body).toEqual({ size: 3 })
    expect(await eventsOf(instance.guid)).toEqual(['audit.service_instance.create'])
    const events = await api.context.db.auditEvent.findMany({ where: { targetGuid: instance.guid } })
    expect(events[0]?.data).toMatchObject({ request: { parameters: '[PRIVATE DATA HIDDEN]' } })
    expect((await remove(instance.guid)).state).toBe('COMPLETE')
    expect(await read(name)).toBeUndefined()
    expect(broker.instances.has(instance.guid)).toBe(false)
  })

  it('makes one in its own time: polling, a description, and the end', async () => {
    broker.asyncPolls = 3
    broker.asyncEnd = 'never'
    const name = aName()
    const accepted = await create({ name })
    const polling = await until(
      () => read(name),
      (each) => each?.last_operation.state === 'in progress',
    )
    const location = new URL(String(accepted.headers['location'])).pathname
    expect((await place.developer.get(location)).body.state).toBe('POLLING')
    broker.asyncEnd = 'succeeded'
    const job = await place.developer.job(accepted)
    expect(job.state).toBe('COMPLETE')
    expect((await read(name)).last_operation).toMatchObject({ type: 'create', state: 'succeeded', description: 'done' })
    expect(broker.seen('last-operation', polling.guid).map(({ query }) => Object.fromEntries(query))[0]).toEqual({
      service_id: 'service-db',
      plan_id: 'plan-small',
      operation: `provision-${polling.guid}`,
    })
    expect(await eventsOf(polling.guid)).toEqual(['audit.service_instance.start_create', 'audit.service_instance.create'])
    expect((await remove(polling.guid)).state).toBe('COMPLETE')
    expect(await eventsOf(polling.guid)).toEqual(
      expect.arrayContaining(['audit.service_instance.start_delete', 'audit.service_instance.delete']),
    )
  })

  it.each<[string, Parameters<ScriptedBroker['script']>[1], string, boolean]>([
    ['400', { status: 400, body: { description: 'no' } }, 'provision could not be completed: Service broker error: no', false],
    ['409', { status: 409, body: {} }, 'provision could not be completed: Resource conflict', false],
    [
      '500',
      { status: 500, body: { description: 'sick' }, does: true },
      'provision could not be completed: Service broker error: sick',
      true,
    ],
    ['204', { status: 204, body: '' }, 'provision could not be completed: The service broker returned an invalid response', true],
    [
      'no JSON',
      { status: 201, body: '<html>' },
      'provision could not be completed: The service broker returned an invalid response',
      true,
    ],
    ['a hang', { hang: true }, 'provision could not be completed: The request to the service broker timed out', true],
    [
      'a broken connection',
      { breakOff: true },
      'provision could not be completed: The service broker could not be reached',
      true,
    ],
    ['10 MB', { padBytes: 10_000_000 }, "provision could not be completed: The service broker's answer is larger", true],
    [
      'ConcurrencyError',
      { status: 422, body: { error: 'ConcurrencyError' } },
      'provision could not be completed: The service broker could not perform this operation in parallel',
      false,
    ],
  ])(
    'fails when the broker answers by %s, with a reason and as much mitigation as the specification asks for',
    async (_name, script, words, mitigated) => {
      broker.script('provision', { ...script, times: 1 })
      const name = aName()
      const job = await place.developer.job(await create({ name }))
      expect(job.state).toBe('FAILED')
      expect(job.errors).toMatchObject([{ code: 10009, title: 'CF-UnableToPerform', detail: expect.stringContaining(words) }])
      const instance = await read(name)
      expect(instance.last_operation).toMatchObject({ type: 'create', state: 'failed' })
      expect(await orphansOf(instance.guid)).toHaveLength(mitigated ? 1 : 0)
      await until(
        () => afterALook(instance.guid),
        (left) => left.length === 0,
      )
      expect(broker.instances.has(instance.guid)).toBe(false)
      const [mitigation] = broker.seen('deprovision', instance.guid)
      expect(mitigation !== undefined).toBe(mitigated)
      expect(mitigation?.headers['x-broker-api-originating-identity']).toBeUndefined()
      expect(mitigation?.query.get('accepts_incomplete') ?? 'true').toBe('true')
      // The failed one makes way for another of its name.
      expect((await place.developer.job(await create({ name }))).state).toBe('COMPLETE')
      expect((await read(name)).guid).not.toBe(instance.guid)
    },
  )

  it('mitigates what an asynchronous creation left when it failed or took too long', async () => {
    broker.asyncPolls = 1
    broker.asyncEnd = 'failed'
    const name = aName()
    const job = await place.developer.job(await create({ name }))
    expect(job.errors[0].detail).toBe('provision could not be completed: it broke')
    const { guid } = await read(name)
    expect(await orphansOf(guid)).toHaveLength(1)
    broker.asyncEnd = 'never'
    await api.context.db.servicePlan.update({ where: { guid: plans['small'] ?? '' }, data: { maximumPollingDuration: 1 } })
    const late = aName()
    const tooLate = await place.developer.job(await create({ name: late }))
    await api.context.db.servicePlan.update({ where: { guid: plans['small'] ?? '' }, data: { maximumPollingDuration: null } })
    expect(tooLate.errors[0].detail).toContain('Service Broker failed to provision within the required time.')
    expect((await read(late)).last_operation.description).toBe('Service Broker failed to provision within the required time.')
    expect(await orphansOf((await read(late)).guid)).toHaveLength(1)
  })

  it('tries to remove an orphan again later, and gives up in the end', async () => {
    broker.script('provision', { status: 500, does: true, times: 1 })
    broker.script('deprovision', { status: 500 })
    const name = aName()
    await place.developer.job(await create({ name }))
    const { guid } = await read(name)
    const [once] = await until(
      () => afterALook(guid),
      ([orphan]) => orphan?.attempts === 1,
    )
    expect((once?.nextAttemptAt.getTime() ?? 0) - Date.now()).toBeGreaterThan(100_000)
    await api.context.db.orphanMitigation.updateMany({
      where: { serviceInstanceGuid: guid },
      data: { attempts: 10, nextAttemptAt: new Date() },
    })
    const [last] = await until(
      () => afterALook(guid),
      ([orphan]) => orphan?.attempts === 11,
    )
    expect(last?.givenUpAt).not.toBeNull()
  })

  it('goes on polling through answers that do not count', async () => {
    broker.asyncPolls = 1
    for (const script of [{ status: 500 }, { status: 404 }, { body: 'x', status: 200 }, { hang: true as const }, { status: 410 }])
      broker.script('last-operation', { ...script, does: false, times: 1 })
    expect((await place.developer.job(await create())).state).toBe('COMPLETE')
    expect(broker.seen('last-operation')).toHaveLength(6)
  })

  it('changes parameters, plan, version, tags and name, each where it belongs', async () => {
    const { developer } = place
    const { guid } = await made()
    const self = `/v3/service_instances/${guid}`
    const name = aName()
    const here = await developer.patch(self, { name, tags: ['a'] })
    expect([here.status, here.headers['location'], here.body]).toMatchObject([
      200,
      undefined,
      { name, tags: ['a'], last_operation: { type: 'update', state: 'succeeded' } },
    ])
    expect(broker.seen('update')).toEqual([])
    const there = await developer.patch(self, {
      parameters: { size: 5 },
      relationships: { service_plan: { data: { guid: plans['large'] } } },
    })
    expect(there.status).toBe(202)
    expect(await developer.job(there)).toMatchObject({ state: 'COMPLETE', operation: 'service_instance.update' })
    expect(broker.seen('update', guid)[0]?.body).toMatchObject({
      service_id: 'service-db',
      plan_id: 'plan-large',
      parameters: { size: 5 },
      previous_values: { service_id: 'service-db', plan_id: 'plan-small', maintenance_info: { version: '1.0.0' } },
      maintenance_info: { version: '1.0.0' },
      context: { instance_name: name },
    })
    expect((await read(name)).relationships.service_plan.data.guid).toBe(plans['large'])
    await api.context.db.servicePlan.update({
      where: { guid: plans['large'] ?? '' },
      data: { maintenanceInfo: { version: '2.0.0' } },
    })
    expect((await read(name)).upgrade_available).toBe(true)
    const upgraded = await developer.job(await developer.patch(self, { maintenance_info: { version: '2.0.0' } }))
    expect(upgraded.state).toBe('COMPLETE')
    expect(await read(name)).toMatchObject({ upgrade_available: false, maintenance_info: { version: '2.0.0' } })
    const refused = async (body: object) => (await developer.patch(self, body)).body.errors[0].detail
    expect(await refused({ maintenance_info: { version: '9.0.0' } })).toContain('maintenance_info.version requested is invalid')
    expect(await refused({ relationships: { service_plan: { data: { guid: plans['only'] } } } })).toContain(
      'relates to a different service offering',
    )
    expect(await refused({ parameters: 'text' })).toBe('Parameters must be an object')
    await api.context.db.servicePlan.update({
      where: { guid: plans['large'] ?? '' },
      data: { maintenanceInfo: { version: '1.0.0' } },
    })
    expect((await remove(guid)).state).toBe('COMPLETE')
  })

  it('keeps everything as it was when an update fails', async () => {
    const { developer } = place
    const { guid, name } = await made()
    const wish = { parameters: { size: 1 }, relationships: { service_plan: { data: { guid: plans['large'] } } } }
    broker.script('update', { status: 500, body: { description: 'sick' }, times: 1 })
    const failed = await developer.job(await developer.patch(`/v3/service_instances/${guid}`, wish))
    expect(failed.errors[0].detail).toBe('update could not be completed: Service broker error: sick')
    broker.asyncPolls = 1
    broker.asyncEnd = 'failed'
    expect((await developer.job(await developer.patch(`/v3/service_instances/${guid}`, wish))).state).toBe('FAILED')
    expect(await read(name)).toMatchObject({
      last_operation: { type: 'update', state: 'failed', description: 'it broke' },
      relationships: { service_plan: { data: { guid: plans['small'] } } },
    })
    expect(await orphansOf(guid)).toEqual([])
  })

  it('keeps an instance that its broker would not remove, and tries again when asked to', async () => {
    const { guid, name } = await made()
    broker.script('deprovision', { status: 500, body: { description: 'busy' }, times: 1 })
    const failed = await remove(guid)
    expect(failed.errors[0].detail).toBe('delete could not be completed: Service broker error: busy')
    expect((await read(name)).last_operation).toMatchObject({
      type: 'delete',
      state: 'failed',
      description: 'Service broker error: busy',
    })
    broker.script('deprovision', { status: 410, body: {}, times: 1 })
    expect((await remove(guid)).state).toBe('COMPLETE')
  })

  it('is being deleted from acceptance on, also when an earlier deletion has failed', async () => {
    const { guid, name } = await made()
    broker.script('deprovision', { status: 500, body: { description: 'busy' }, times: 1 })
    await remove(guid)
    expect((await read(name)).last_operation).toMatchObject({ type: 'delete', state: 'failed' })
    // Nobody takes it up meanwhile, and so no broker has been asked.
    const kick = jest.spyOn(api.context.operations, 'kick').mockImplementation(() => undefined)
    const accepted = await place.developer.delete(`/v3/service_instances/${guid}`)
    expect((await read(name)).last_operation).toMatchObject({ type: 'delete', state: 'in progress', description: '' })
    kick.mockRestore()
    api.context.operations.kick()
    expect((await place.developer.job(accepted)).state).toBe('COMPLETE')
  })

  const unusable = { state: 'failed', description: 'disk is gone', instance_usable: false }
  const update = async (guid: string, parameters: object) =>
    place.developer.patch(`/v3/service_instances/${guid}`, { parameters })
  const key = async (guid: string) =>
    place.developer.post('/v3/service_credential_bindings', {
      type: 'key',
      name: `key-${randomUUID().slice(0, 8)}`,
      relationships: { service_instance: { data: { guid } } },
    })
  const refusal = (answer: { status: number; body: { errors?: { detail: string }[] } }) => [
    answer.status,
    answer.body.errors?.[0]?.detail,
  ]

  it('is bound by nobody once its broker says that it does not serve, until an update has succeeded', async () => {
    const { guid, name } = await made()
    broker.asyncPolls = 1
    broker.script('last-operation', { status: 200, body: unusable, times: 1 })
    expect((await place.developer.job(await update(guid, { size: 1 }))).state).toBe('FAILED')
    expect((await read(name)).last_operation).toMatchObject({
      state: 'failed',
      description:
        'disk is gone. The service broker says that the service instance cannot be used any more: repair it with another update, or delete it.',
    })
    expect(refusal(await key(guid))).toEqual([
      422,
      `The service instance ${name} cannot be used: its service broker said so when it failed to update it. ` +
        'To go on, repair it with another update, or delete it, or ask the operator of the service broker.',
    ])
    broker.asyncPolls = 0
    // One that fails otherwise repairs nothing.
    broker.script('update', { status: 500, body: {}, times: 1 })
    await place.developer.job(await update(guid, { size: 1 }))
    expect((await key(guid)).status).toBe(422)
    expect((await place.developer.job(await update(guid, { size: 1 }))).state).toBe('COMPLETE')
    expect((await place.developer.job(await key(guid))).state).toBe('COMPLETE')
    expect((await remove(guid)).state).toBe('COMPLETE')
  })

  it('is not asked again for an update that its broker says will fail again, but for others', async () => {
    const { guid, name } = await made()
    broker.script('update', { status: 400, body: { description: 'too large', update_repeatable: false }, times: 1 })
    expect((await place.developer.job(await update(guid, { size: 9 }))).state).toBe('FAILED')
    const asked = broker.seen('update', guid).length
    expect(refusal(await update(guid, { size: 9 }))).toEqual([
      422,
      `The service broker has failed this update of service instance ${name}, and said that it would fail again. ` +
        'Ask for another plan, version or other parameters.',
    ])
    expect(broker.seen('update', guid)).toHaveLength(asked)
    // It serves all the same, and others may succeed; then the first may, too.
    expect((await place.developer.job(await key(guid))).state).toBe('COMPLETE')
    expect((await place.developer.job(await update(guid, { size: 2 }))).state).toBe('COMPLETE')
    expect((await place.developer.job(await update(guid, { size: 9 }))).state).toBe('COMPLETE')
  })

  it('can only be deleted when a deletion has left it useless', async () => {
    const { guid, name } = await made()
    broker.script('deprovision', { status: 500, body: { description: 'stuck', instance_usable: false }, times: 1 })
    await remove(guid)
    expect((await read(name)).last_operation.description).toMatch(/stuck\. The service broker says .*: delete it again\.$/)
    for (const answer of [await key(guid), await update(guid, { size: 1 })])
      expect(refusal(answer)).toEqual([422, expect.stringContaining('failed to delete it. To go on, delete it again')])
    expect((await remove(guid)).state).toBe('COMPLETE')
  })

  it('lets one user wait for so many answers at once, and for more when those have come', async () => {
    const { guid } = await made()
    const { developer, admin } = place
    const path = `/v3/service_instances/${guid}/parameters`
    broker.script('fetch-instance', { delayMs: 200 })
    const answers = await Promise.all([developer.get(path), developer.get(path), developer.get(path), admin.get(path)])
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 200, 429])
    const refused = answers.find(({ status }) => status === 429)
    expect(refused?.body.errors).toEqual([
      {
        code: 10016,
        title: 'CF-ServiceBrokerRateLimitExceeded',
        detail: 'Service broker concurrent request limit exceeded',
      },
    ])
    expect(Number(refused?.headers['retry-after'])).toBeGreaterThanOrEqual(1)
    expect((await developer.get(path)).status).toBe(200)
  })

  it('does one thing at a time, and asks the broker to stop creating when it is to be deleted', async () => {
    const { developer } = place
    broker.asyncPolls = 1
    broker.asyncEnd = 'never'
    const name = aName()
    const creating = await create({ name })
    const { guid } = await until(
      () => read(name),
      (each) => each?.last_operation.state === 'in progress',
    )
    const update = await developer.patch(`/v3/service_instances/${guid}`, { tags: ['x'] })
    expect([update.status, update.body.errors[0]]).toMatchObject([
      409,
      {
        title: 'CF-AsyncServiceInstanceOperationInProgress',
        detail: `An operation for service instance ${name} is in progress.`,
      },
    ])
    expect((await create({ name })).body.errors[0].detail).toContain('The service instance name is taken')
    broker.script('deprovision', { status: 422, body: { error: 'ConcurrencyError' }, times: 1 })
    expect((await remove(guid)).state).toBe('FAILED')
    expect((await read(name)).last_operation).toMatchObject({ type: 'create', state: 'in progress' })
    broker.asyncEnd = 'succeeded'
    broker.asyncPolls = 0
    broker.script('last-operation', { body: { state: 'in progress' }, status: 200 })
    expect((await remove(guid)).state).toBe('COMPLETE')
    expect(await developer.job(creating)).toMatchObject({
      state: 'FAILED',
      errors: [{ detail: 'create could not be completed: delete in progress' }],
    })
    expect(broker.instances.has(guid)).toBe(false)
  })

  it('unbinds all before it is deleted, and stays when one cannot be unbound', async () => {
    const { developer, space } = place
    const { guid, name } = await made()
    const app = (await developer.post('/v3/apps', { name: aName(), relationships: { space: { data: { guid: space.guid } } } }))
      .body
    const bound = await developer.post('/v3/service_credential_bindings', {
      type: 'app',
      relationships: { app: { data: { guid: app.guid } }, service_instance: { data: { guid } } },
    })
    expect((await developer.job(bound)).state).toBe('COMPLETE')
    broker.script('unbind', { status: 500, body: { description: 'stuck' }, times: 1 })
    const failed = await remove(guid)
    expect(failed.errors[0].detail).toContain('associated resources could not be deleted')
    expect(failed.errors[0].detail).toContain('stuck')
    expect(broker.seen('deprovision', guid)).toEqual([])
    expect((await read(name)).last_operation).toMatchObject({ type: 'delete', state: 'failed' })
    expect((await remove(guid)).state).toBe('COMPLETE')
    expect(broker.seen('unbind')).toHaveLength(2)
    expect(broker.instances.has(guid)).toBe(false)
  })

  it('is shared with another space, which may bind it and nothing more', async () => {
    const { admin, developer, organization, space } = place
    const other = await api.context.db.space.create({
      data: { guid: randomUUID(), name: aName(), organizationGuid: organization.guid },
    })
    const guest = await api.caller(`guest-${other.name}`)
    await api.context.db.role.create({
      data: { guid: randomUUID(), type: 'space_developer', userGuid: guest.guid, spaceGuid: other.guid },
    })
    const { guid, name } = await made()
    const shared = `/v3/service_instances/${guid}/relationships/shared_spaces`
    const share = (caller: Caller, to: string) => caller.post(shared, { data: [{ guid: to }] })
    expect((await share(developer, other.guid)).body.errors[0].detail).toBe('Feature Disabled: service_instance_sharing')
    await admin.patch('/v3/feature_flags/service_instance_sharing', { enabled: true })
    expect((await share(developer, other.guid)).body.errors[0].detail).toContain(
      'Ensure the spaces exist and that you have access to them.',
    )
    await api.context.db.role.create({
      data: { guid: randomUUID(), type: 'space_developer', userGuid: developer.guid, spaceGuid: other.guid },
    })
    expect((await guest.get(`/v3/service_instances/${guid}`)).status).toBe(404)
    expect((await share(developer, space.guid)).body.errors[0].detail).toContain(
      'cannot be shared into the space where they were created',
    )
    expect(await share(developer, other.guid)).toMatchObject({ status: 200, body: { data: [{ guid: other.guid }] } })
    expect((await share(developer, other.guid)).body.errors[0].detail).toBe(
      `A service instance called ${name} has already been shared with ${other.name}.`,
    )
    expect(
      (
        await developer.get(
          `${shared}?fields%5Bspace%5D=guid,name,relationships.organization&fields%5Bspace.organization%5D=guid,name`,
        )
      ).body,
    ).toMatchObject({
      included: { spaces: [{ guid: other.guid, name: other.name }], organizations: [{ guid: organization.guid }] },
    })
    expect((await guest.get(`/v3/service_instances?names=${name}&space_guids=${other.guid}`)).body.resources).toMatchObject([
      { guid, relationships: { space: { data: { guid: space.guid } } } },
    ])
    expect((await guest.get(`/v3/service_offerings?names=db`)).status).toBe(200)
    for (const answer of [
      await guest.delete(`/v3/service_instances/${guid}`),
      await guest.patch(`/v3/service_instances/${guid}`, { name: 'x' }),
    ])
      expect(answer.status).toBe(403)
    const app = (await guest.post('/v3/apps', { name: aName(), relationships: { space: { data: { guid: other.guid } } } })).body
    const bound = await guest.post('/v3/service_credential_bindings', {
      type: 'app',
      relationships: { app: { data: { guid: app.guid } }, service_instance: { data: { guid } } },
    })
    expect((await guest.job(bound)).state).toBe('COMPLETE')
    expect((await developer.get(`${shared}/usage_summary`)).body.usage_summary).toEqual([
      { space: { guid: other.guid }, bound_app_count: 1 },
    ])
    expect((await developer.patch(`/v3/service_instances/${guid}`, { name: 'x' })).body.errors[0].detail).toBe(
      'Service instances that have been shared cannot be renamed',
    )
    broker.script('unbind', { status: 500, body: { description: 'stuck' }, times: 1 })
    const kept = await developer.delete(`${shared}/${other.guid}`)
    expect([kept.status, kept.body.errors[0].title]).toEqual([502, 'CF-ServiceInstanceUnshareFailed'])
    expect((await developer.delete(`${shared}/${other.guid}`)).status).toBe(204)
    expect((await guest.get(`/v3/service_instances/${guid}`)).status).toBe(404)
    expect(await eventsOf(guid)).toEqual(
      expect.arrayContaining(['audit.service_instance.share', 'audit.service_instance.unshare']),
    )
    await admin.patch('/v3/feature_flags/service_instance_sharing', { enabled: false })
  })

  it('counts: quotas of instances and of what costs something', async () => {
    const { db } = api.context
    const { quota } = place
    const used = await db.serviceInstance.count({
      where: { type: 'managed', space: { organization: { quotaGuid: quota.guid } } },
    })
    await db.organizationQuota.update({ where: { guid: quota.guid }, data: { totalServiceInstances: used } })
    expect((await create()).body.errors[0].detail).toBe("You have exceeded your organization's services limit.")
    await db.organizationQuota.update({
      where: { guid: quota.guid },
      data: { totalServiceInstances: null, paidServicesAllowed: false },
    })
    expect((await create({}, plans['large'])).body.errors[0].detail).toContain('paid service plans are not allowed')
    await db.organizationQuota.update({ where: { guid: quota.guid }, data: { paidServicesAllowed: true } })
  })

  it('refuses plans that are not there, and parameters that do not fit the schema', async () => {
    expect((await create({}, 'nowhere')).body.errors[0].detail).toContain('Invalid service plan.')
    expect((await create({ parameters: { size: 'x' } })).body.errors[0].detail).toContain('/size must be integer')
    await api.context.db.serviceBroker.update({ where: { guid: brokerGuid }, data: { state: 'SYNCHRONIZING' } })
    expect((await create()).body.errors[0].detail).toContain('operation in progress for the service broker')
    await api.context.db.serviceBroker.update({ where: { guid: brokerGuid }, data: { state: 'AVAILABLE' } })
    const { stranger, auditor } = place
    expect((await createInstance(stranger, place.space.guid, plans['small'])).status).toBe(422)
    expect((await createInstance(auditor, place.space.guid, plans['small'])).status).toBe(403)
  })

  it('is purged by operators alone, without a word to the broker', async () => {
    const { admin, developer } = place
    const { guid, name } = await made()
    expect((await developer.delete(`/v3/service_instances/${guid}?purge=true`)).status).toBe(403)
    expect((await admin.delete(`/v3/service_instances/${guid}?purge=true`)).status).toBe(204)
    expect(await read(name)).toBeUndefined()
    expect(broker.seen('deprovision', guid)).toEqual([])
    expect(await eventsOf(guid)).toContain('audit.service_instance.purge')
  })

  it('answers plan, offering and broker with a list, in a number of queries that does not grow', async () => {
    const { developer, space } = place
    const fields =
      'fields%5Bservice_plan%5D=guid,name,relationships.service_offering&fields%5Bservice_plan.service_offering%5D=guid,name,relationships.service_broker&fields%5Bservice_plan.service_offering.service_broker%5D=guid,name'
    const list = (more = '') => developer.get(`/v3/service_instances?space_guids=${space.guid}&order_by=name&${fields}${more}`)
    const { body } = await list()
    expect(body.included.service_plans[0]).toMatchObject({
      name: expect.any(String),
      relationships: { service_offering: { data: { guid: expect.any(String) } } },
    })
    expect(body.included.service_brokers).toHaveLength(1)
    const few = await api.countQueries(() => list('&per_page=2'))
    expect(await api.countQueries(() => list())).toBe(few)
  })

  it('goes with its space: the broker is asked for each, and a space whose services stay, stays', async () => {
    const { admin, organization, developer } = place
    const space = await api.context.db.space.create({
      data: { guid: randomUUID(), name: aName(), organizationGuid: organization.guid },
    })
    await api.context.db.role.create({
      data: { guid: randomUUID(), type: 'space_developer', userGuid: developer.guid, spaceGuid: space.guid },
    })
    await developer.job(await createInstance(developer, space.guid, plans['small']))
    broker.script('deprovision', { status: 500, body: { description: 'busy' }, times: 1 })
    const failed = await admin.job(await admin.delete(`/v3/spaces/${space.guid}`))
    expect(failed.errors[0]).toMatchObject({ title: 'CF-SpaceDeletionFailed', detail: expect.stringContaining('busy') })
    expect((await admin.job(await admin.delete(`/v3/spaces/${space.guid}`))).state).toBe('COMPLETE')
    expect(await api.context.db.serviceInstance.count({ where: { spaceGuid: space.guid } })).toBe(0)
  })
})
