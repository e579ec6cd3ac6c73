import { describe, expect, it, jest } from '@jest/globals'
import { randomUUID } from 'node:crypto'
import { createInstance, until } from '../../service-operations/registered-broker.fixture.js'
import { withManagedInstances } from './managed-instances.fixture.js'

describe('changing and deleting instances of service brokers', () => {
  const given = withManagedInstances()
  const { aName, create, read, made, remove, eventsOf, orphansOf } = given

  it('changes parameters, plan, version, tags and name, each where it belongs', async () => {
    const { developer } = given.place
    const { guid } = await made()
    const self = `/v3/service_instances/${guid}`
    const name = aName()
    const here = await developer.patch(self, { name, tags: ['a'] })
    expect([here.status, here.headers['location'], here.body]).toMatchObject([
      200,
      undefined,
      { name, tags: ['a'], last_operation: { type: 'update', state: 'succeeded' } },
    ])
    expect(given.broker.seen('update')).toEqual([])
    const there = await developer.patch(self, {
      parameters: { size: 5 },
      relationships: { service_plan: { data: { guid: given.plans['large'] } } },
    })
    expect(there.status).toBe(202)
    expect(await developer.job(there)).toMatchObject({ state: 'COMPLETE', operation: 'service_instance.update' })
    expect(given.broker.seen('update', guid)[0]?.body).toMatchObject({
      service_id: 'service-db',
      plan_id: 'plan-large',
      parameters: { size: 5 },
      previous_values: { service_id: 'service-db', plan_id: 'plan-small', maintenance_info: { version: '1.0.0' } },
      maintenance_info: { version: '1.0.0' },
      context: { instance_name: name },
    })
    expect((await read(name)).relationships.service_plan.data.guid).toBe(given.plans['large'])
    await given.api.context.db.servicePlan.update({
      where: { guid: given.plans['large'] ?? '' },
      data: { maintenanceInfo: { version: '2.0.0' } },
    })
    expect((await read(name)).upgrade_available).toBe(true)
    const upgraded = await developer.job(await developer.patch(self, { maintenance_info: { version: '2.0.0' } }))
    expect(upgraded.state).toBe('COMPLETE')
    expect(await read(name)).toMatchObject({ upgrade_available: false, maintenance_info: { version: '2.0.0' } })
    const refused = async (body: object) => (await developer.patch(self, body)).body.errors[0].detail
    expect(await refused({ maintenance_info: { version: '9.0.0' } })).toContain('maintenance_info.version requested is invalid')
    expect(await refused({ relationships: { service_plan: { data: { guid: given.plans['only'] } } } })).toContain(
      'relates to a different service offering',
    )
    expect(await refused({ parameters: 'text' })).toBe('Parameters must be an object')
    await given.api.context.db.servicePlan.update({
      where: { guid: given.plans['large'] ?? '' },
      data: { maintenanceInfo: { version: '1.0.0' } },
    })
    expect((await remove(guid)).state).toBe('COMPLETE')
  })

  it('keeps everything as it was when an update fails', async () => {
    const { developer } = given.place
    const { guid, name } = await made()
    const wish = { parameters: { size: 1 }, relationships: { service_plan: { data: { guid: given.plans['large'] } } } }
    given.broker.script('update', { status: 500, body: { description: 'sick' }, times: 1 })
    const failed = await developer.job(await developer.patch(`/v3/service_instances/${guid}`, wish))
    expect(failed.errors[0].detail).toBe('update could not be completed: Service broker error: sick')
    given.broker.asyncPolls = 1
    given.broker.asyncEnd = 'failed'
    expect((await developer.job(await developer.patch(`/v3/service_instances/${guid}`, wish))).state).toBe('FAILED')
    expect(await read(name)).toMatchObject({
      last_operation: { type: 'update', state: 'failed', description: 'it broke' },
      relationships: { service_plan: { data: { guid: given.plans['small'] } } },
    })
    expect(await orphansOf(guid)).toEqual([])
  })

  it('keeps an instance that its broker would not remove, and tries again when asked to', async () => {
    const { guid, name } = await made()
    given.broker.script('deprovision', { status: 500, body: { description: 'busy' }, times: 1 })
    const failed = await remove(guid)
    expect(failed.errors[0].detail).toBe('delete could not be completed: Service broker error: busy')
    expect((await read(name)).last_operation).toMatchObject({
      type: 'delete',
      state: 'failed',
      description: 'Service broker error: busy',
    })
    given.broker.script('deprovision', { status: 410, body: {}, times: 1 })
    expect((await remove(guid)).state).toBe('COMPLETE')
  })

  it('is being deleted from acceptance on, also when an earlier deletion has failed', async () => {
    const { guid, name } = await made()
    given.broker.script('deprovision', { status: 500, body: { description: 'busy' }, times: 1 })
    await remove(guid)
    expect((await read(name)).last_operation).toMatchObject({ type: 'delete', state: 'failed' })
    // Nobody takes it up meanwhile, and so no broker has been asked.
    const kick = jest.spyOn(given.api.context.operations, 'kick').mockImplementation(() => undefined)
    const accepted = await given.place.developer.delete(`/v3/service_instances/${guid}`)
    expect((await read(name)).last_operation).toMatchObject({ type: 'delete', state: 'in progress', description: '' })
    kick.mockRestore()
    given.api.context.operations.kick()
    expect((await given.place.developer.job(accepted)).state).toBe('COMPLETE')
  })

  it('does one thing at a time, and asks the broker to stop creating when it is to be deleted', async () => {
    const { developer } = given.place
    given.broker.asyncPolls = 1
    given.broker.asyncEnd = 'never'
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
    given.broker.script('deprovision', { status: 422, body: { error: 'ConcurrencyError' }, times: 1 })
    expect((await remove(guid)).state).toBe('FAILED')
    expect((await read(name)).last_operation).toMatchObject({ type: 'create', state: 'in progress' })
    given.broker.asyncEnd = 'succeeded'
    given.broker.asyncPolls = 0
    given.broker.script('last-operation', { body: { state: 'in progress' }, status: 200 })
    expect((await remove(guid)).state).toBe('COMPLETE')
    expect(await developer.job(creating)).toMatchObject({
      state: 'FAILED',
      errors: [{ detail: 'create could not be completed: delete in progress' }],
    })
    expect(given.broker.instances.has(guid)).toBe(false)
  })

  it('unbinds all before it is deleted, and stays when one cannot be unbound', async () => {
    const { developer, space } = given.place
    const { guid, name } = await made()
    const app = (await developer.post('/v3/apps', { name: aName(), relationships: { space: { data: { guid: space.guid } } } }))
      .body
    const bound = await developer.post('/v3/service_credential_bindings', {
      type: 'app',
      relationships: { app: { data: { guid: app.guid } }, service_instance: { data: { guid } } },
    })
    expect((await developer.job(bound)).state).toBe('COMPLETE')
    given.broker.script('unbind', { status: 500, body: { description: 'stuck' }, times: 1 })
    const failed = await remove(guid)
    expect(failed.errors[0].detail).toContain('associated resources could not be deleted')
    expect(failed.errors[0].detail).toContain('stuck')
    expect(given.broker.seen('deprovision', guid)).toEqual([])
    expect((await read(name)).last_operation).toMatchObject({ type: 'delete', state: 'failed' })
    expect((await remove(guid)).state).toBe('COMPLETE')
    expect(given.broker.seen('unbind')).toHaveLength(2)
    expect(given.broker.instances.has(guid)).toBe(false)
  })

  it('is purged by operators alone, without a word to the broker', async () => {
    const { admin, developer } = given.place
    const { guid, name } = await made()
    expect((await developer.delete(`/v3/service_instances/${guid}?purge=true`)).status).toBe(403)
    expect((await admin.delete(`/v3/service_instances/${guid}?purge=true`)).status).toBe(204)
    expect(await read(name)).toBeUndefined()
    expect(given.broker.seen('deprovision', guid)).toEqual([])
    expect(await eventsOf(guid)).toContain('audit.service_instance.purge')
  })

  it('goes with its space: the broker is asked for each, and a space whose services stay, stays', async () => {
    const { admin, organization, developer } = given.place
    const space = await given.api.context.db.space.create({
      data: { guid: randomUUID(), name: aName(), organizationGuid: organization.guid },
    })
    await given.api.context.db.role.create({
      data: { guid: randomUUID(), type: 'space_developer', userGuid: developer.guid, spaceGuid: space.guid },
    })
    await developer.job(await createInstance(developer, space.guid, given.plans['small']))
    given.broker.script('deprovision', { status: 500, body: { description: 'busy' }, times: 1 })
    const failed = await admin.job(await admin.delete(`/v3/spaces/${space.guid}`))
    expect(failed.errors[0]).toMatchObject({ title: 'CF-SpaceDeletionFailed', detail: expect.stringContaining('busy') })
    expect((await admin.job(await admin.delete(`/v3/spaces/${space.guid}`))).state).toBe('COMPLETE')
    expect(await given.api.context.db.serviceInstance.count({ where: { spaceGuid: space.guid } })).toBe(0)
  })
})
