import { describe, expect, it } from '@jest/globals'
import { decodeIdentity } from '@bloomery/osb'
import { createInstance, type ScriptedBroker, until } from '../../service-operations/registered-broker.fixture.js'
import { withManagedInstances } from './managed-instances.fixture.js'

describe('making instances of service brokers', () => {
  const given = withManagedInstances()
  const { aName, create, read, remove, eventsOf, afterALook, orphansOf } = given

  it('makes one at once, with all that the broker should know', async () => {
    const { developer, space, organization } = given.place
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
      relationships: { service_plan: { data: { guid: given.plans['small'] } } },
    })
    expect(job.links.service_instances.href).toContain(instance.guid)
    const [request] = given.broker.seen('provision', instance.guid)
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
    const events = await given.api.context.db.auditEvent.findMany({ where: { targetGuid: instance.guid } })
    expect(events[0]?.data).toMatchObject({ request: { parameters: '[PRIVATE DATA HIDDEN]' } })
    expect((await remove(instance.guid)).state).toBe('COMPLETE')
    expect(await read(name)).toBeUndefined()
    expect(given.broker.instances.has(instance.guid)).toBe(false)
  })

  it('makes one in its own time: polling, a description, and the end', async () => {
    given.broker.asyncPolls = 3
    given.broker.asyncEnd = 'never'
    const name = aName()
    const accepted = await create({ name })
    const polling = await until(
      () => read(name),
      (each) => each?.last_operation.state === 'in progress',
    )
    const location = new URL(String(accepted.headers['location'])).pathname
    expect((await given.place.developer.get(location)).body.state).toBe('POLLING')
    given.broker.asyncEnd = 'succeeded'
    const job = await given.place.developer.job(accepted)
    expect(job.state).toBe('COMPLETE')
    expect((await read(name)).last_operation).toMatchObject({ type: 'create', state: 'succeeded', description: 'done' })
    expect(given.broker.seen('last-operation', polling.guid).map(({ query }) => Object.fromEntries(query))[0]).toEqual({
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
      given.broker.script('provision', { ...script, times: 1 })
      const name = aName()
      const job = await given.place.developer.job(await create({ name }))
      expect(job.state).toBe('FAILED')
      expect(job.errors).toMatchObject([{ code: 10009, title: 'CF-UnableToPerform', detail: expect.stringContaining(words) }])
      const instance = await read(name)
      expect(instance.last_operation).toMatchObject({ type: 'create', state: 'failed' })
      expect(await orphansOf(instance.guid)).toHaveLength(mitigated ? 1 : 0)
      await until(
        () => afterALook(instance.guid),
        (left) => left.length === 0,
      )
      expect(given.broker.instances.has(instance.guid)).toBe(false)
      const [mitigation] = given.broker.seen('deprovision', instance.guid)
      expect(mitigation !== undefined).toBe(mitigated)
      expect(mitigation?.headers['x-broker-api-originating-identity']).toBeUndefined()
      expect(mitigation?.query.get('accepts_incomplete') ?? 'true').toBe('true')
      // The failed one makes way for another of its name.
      expect((await given.place.developer.job(await create({ name }))).state).toBe('COMPLETE')
      expect((await read(name)).guid).not.toBe(instance.guid)
    },
  )

  it('mitigates what an asynchronous creation left when it failed or took too long', async () => {
    given.broker.asyncPolls = 1
    given.broker.asyncEnd = 'failed'
    const name = aName()
    const job = await given.place.developer.job(await create({ name }))
    expect(job.errors[0].detail).toBe('provision could not be completed: it broke')
    const { guid } = await read(name)
    expect(await orphansOf(guid)).toHaveLength(1)
    given.broker.asyncEnd = 'never'
    await given.api.context.db.servicePlan.update({
      where: { guid: given.plans['small'] ?? '' },
      data: { maximumPollingDuration: 1 },
    })
    const late = aName()
    const tooLate = await given.place.developer.job(await create({ name: late }))
    await given.api.context.db.servicePlan.update({
      where: { guid: given.plans['small'] ?? '' },
      data: { maximumPollingDuration: null },
    })
    expect(tooLate.errors[0].detail).toContain('Service Broker failed to provision within the required time.')
    expect((await read(late)).last_operation.description).toBe('Service Broker failed to provision within the required time.')
    expect(await orphansOf((await read(late)).guid)).toHaveLength(1)
  })

  it('tries to remove an orphan again later, and gives up in the end', async () => {
    given.broker.script('provision', { status: 500, does: true, times: 1 })
    given.broker.script('deprovision', { status: 500 })
    const name = aName()
    await given.place.developer.job(await create({ name }))
    const { guid } = await read(name)
    const [once] = await until(
      () => afterALook(guid),
      ([orphan]) => orphan?.attempts === 1,
    )
    expect((once?.nextAttemptAt.getTime() ?? 0) - Date.now()).toBeGreaterThan(100_000)
    await given.api.context.db.orphanMitigation.updateMany({
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
    given.broker.asyncPolls = 1
    for (const script of [{ status: 500 }, { status: 404 }, { body: 'x', status: 200 }, { hang: true as const }, { status: 410 }])
      given.broker.script('last-operation', { ...script, does: false, times: 1 })
    expect((await given.place.developer.job(await create())).state).toBe('COMPLETE')
    expect(given.broker.seen('last-operation')).toHaveLength(6)
  })

  it('counts: quotas of instances and of what costs something', async () => {
    const { db } = given.api.context
    const { quota } = given.place
    const used = await db.serviceInstance.count({
      where: { type: 'managed', space: { organization: { quotaGuid: quota.guid } } },
    })
    await db.organizationQuota.update({ where: { guid: quota.guid }, data: { totalServiceInstances: used } })
    expect((await create()).body.errors[0].detail).toBe("You have exceeded your organization's services limit.")
    await db.organizationQuota.update({
      where: { guid: quota.guid },
      data: { totalServiceInstances: null, paidServicesAllowed: false },
    })
    expect((await create({}, given.plans['large'])).body.errors[0].detail).toContain('paid service plans are not allowed')
    await db.organizationQuota.update({ where: { guid: quota.guid }, data: { paidServicesAllowed: true } })
  })

  it('refuses plans that are not there, and parameters that do not fit the schema', async () => {
    expect((await create({}, 'nowhere')).body.errors[0].detail).toContain('Invalid service plan.')
    expect((await create({ parameters: { size: 'x' } })).body.errors[0].detail).toContain('/size must be integer')
    await given.api.context.db.serviceBroker.update({ where: { guid: given.registered.guid }, data: { state: 'SYNCHRONIZING' } })
    expect((await create()).body.errors[0].detail).toContain('operation in progress for the service broker')
    await given.api.context.db.serviceBroker.update({ where: { guid: given.registered.guid }, data: { state: 'AVAILABLE' } })
    const { stranger, auditor } = given.place
    expect((await createInstance(stranger, given.place.space.guid, given.plans['small'])).status).toBe(422)
    expect((await createInstance(auditor, given.place.space.guid, given.plans['small'])).status).toBe(403)
  })
})
