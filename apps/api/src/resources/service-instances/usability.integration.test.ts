import { describe, expect, it } from '@jest/globals'
import { randomUUID } from 'node:crypto'
import type { Answer } from '../../testing.fixture.js'
import { withManagedInstances } from './managed-instances.fixture.js'

const PATH = '/bloomery/v1/unusable_service_instances'

describe('instances that their brokers say cannot be used', () => {
  const given = withManagedInstances()
  const { read, made, remove, key } = given

  const unusable = { state: 'failed', description: 'disk is gone', instance_usable: false }
  const update = async (guid: string, parameters: object) =>
    given.place.developer.patch(`/v3/service_instances/${guid}`, { parameters })
  const refusal = (answer: { status: number; body: { errors?: { detail: string }[] } }) => [
    answer.status,
    answer.body.errors?.[0]?.detail,
  ]

  it('is bound by nobody once its broker says that it does not serve, until an update has succeeded', async () => {
    const { guid, name } = await made()
    given.broker.asyncPolls = 1
    given.broker.script('last-operation', { status: 200, body: unusable, times: 1 })
    expect((await given.place.developer.job(await update(guid, { size: 1 }))).state).toBe('FAILED')
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
    given.broker.asyncPolls = 0
    // One that fails otherwise repairs nothing.
    given.broker.script('update', { status: 500, body: {}, times: 1 })
    await given.place.developer.job(await update(guid, { size: 1 }))
    expect((await key(guid)).status).toBe(422)
    expect((await given.place.developer.job(await update(guid, { size: 1 }))).state).toBe('COMPLETE')
    expect((await given.place.developer.job(await key(guid))).state).toBe('COMPLETE')
    expect((await remove(guid)).state).toBe('COMPLETE')
  })

  it('is not asked again for an update that its broker says will fail again, but for others', async () => {
    const { guid, name } = await made()
    given.broker.script('update', { status: 400, body: { description: 'too large', update_repeatable: false }, times: 1 })
    expect((await given.place.developer.job(await update(guid, { size: 9 }))).state).toBe('FAILED')
    const asked = given.broker.seen('update', guid).length
    expect(refusal(await update(guid, { size: 9 }))).toEqual([
      422,
      `The service broker has failed this update of service instance ${name}, and said that it would fail again. ` +
        'Ask for another plan, version or other parameters.',
    ])
    expect(given.broker.seen('update', guid)).toHaveLength(asked)
    // It serves all the same, and others may succeed; then the first may, too.
    expect((await given.place.developer.job(await key(guid))).state).toBe('COMPLETE')
    expect((await given.place.developer.job(await update(guid, { size: 2 }))).state).toBe('COMPLETE')
    expect((await given.place.developer.job(await update(guid, { size: 9 }))).state).toBe('COMPLETE')
  })

  it('can only be deleted when a deletion has left it useless', async () => {
    const { guid, name } = await made()
    given.broker.script('deprovision', { status: 500, body: { description: 'stuck', instance_usable: false }, times: 1 })
    await remove(guid)
    expect((await read(name)).last_operation.description).toMatch(/stuck\. The service broker says .*: delete it again\.$/)
    for (const answer of [await key(guid), await update(guid, { size: 1 })])
      expect(refusal(answer)).toEqual([422, expect.stringContaining('failed to delete it. To go on, delete it again')])
    expect((await remove(guid)).state).toBe('COMPLETE')
  })

  describe('for operators', () => {
    const ended = async (answer: Answer) => (await given.place.developer.job(answer)).state
    const listed = async (guid: string) =>
      (await given.place.admin.get(PATH)).body.resources.find((each: { guid: string }) => each.guid === guid)
    const repaired = async (guid: string) => given.place.admin.post(`${PATH}/${guid}/actions/declare_repaired`)
    const broken = { status: 500, body: { description: 'disk is gone', instance_usable: false }, times: 1 }

    it('are listed with what the broker said, and serve again once they are declared repaired, which is on record', async () => {
      const { guid, name } = await made()
      given.broker.script('update', { ...broken, body: { ...broken.body, update_repeatable: false } })
      expect(await ended(await update(guid, { size: 9 }))).toBe('FAILED')
      const { space, organization } = given.place
      expect(await listed(guid)).toMatchObject({
        guid,
        name,
        organization: { guid: organization.guid, name: organization.name },
        space: { guid: space.guid, name: space.name },
        service_broker: { guid: given.registered.guid, name: given.registered.name },
        service_plan: 'small',
        last_operation: { type: 'update', state: 'failed', description: expect.stringMatching(/disk is gone.*cannot be used/) },
      })
      expect((await key(guid)).status).toBe(422)
      expect((await update(guid, { size: 9 })).status).toBe(422)
      const asked = given.broker.requests.length

      expect((await repaired(guid)).status).toBe(204)
      expect(given.broker.requests).toHaveLength(asked)
      expect(await listed(guid)).toBeUndefined()
      expect((await given.place.developer.get(`/v3/service_instances/${guid}`)).body.last_operation).toMatchObject({
        type: 'update',
        state: 'failed',
        description: 'Service broker error: disk is gone. An operator has declared the service instance repaired since.',
      })
      expect(await ended(await key(guid))).toBe('COMPLETE')
      expect(await ended(await update(guid, { size: 9 }))).toBe('COMPLETE')
      const events = await given.api.context.db.auditEvent.findMany({
        where: { targetGuid: guid, type: { contains: 'bloomery' } },
      })
      expect(events).toMatchObject([
        {
          type: 'audit.bloomery.service_instance.declare_repaired',
          actorGuid: given.place.admin.guid,
          spaceGuid: given.place.space.guid,
          organizationGuid: given.place.organization.guid,
        },
      ])
    })

    it('may be changed again after a deletion that has failed', async () => {
      const { guid } = await made()
      given.broker.script('deprovision', broken)
      expect((await remove(guid)).state).toBe('FAILED')
      expect((await update(guid, { size: 9 })).status).toBe(422)
      expect((await repaired(guid)).status).toBe(204)
      expect(await ended(await update(guid, { size: 9 }))).toBe('COMPLETE')
      expect((await remove(guid)).state).toBe('COMPLETE')
    })

    it('are left alone while a broker is at work on them', async () => {
      const { guid } = await made()
      given.broker.script('deprovision', broken)
      expect((await remove(guid)).state).toBe('FAILED')
      given.broker.asyncPolls = 1_000
      const removing = await given.place.developer.delete(`/v3/service_instances/${guid}`)
      const refused = await repaired(guid)
      expect([refused.status, refused.body.errors[0].title]).toEqual([409, 'CF-AsyncServiceInstanceOperationInProgress'])
      expect(await listed(guid)).toBeDefined()
      given.broker.asyncPolls = 0
      given.broker.script('last-operation', { status: 410, body: {} })
      expect(await ended(removing)).toBe('COMPLETE')
    })

    it('are none that serve, none that are not there, and nothing for others', async () => {
      const { guid, name } = await made()
      const needless = await repaired(guid)
      expect([needless.status, needless.body.errors[0].detail]).toEqual([
        422,
        `The service instance ${name} can be used: its service broker has said nothing else.`,
      ])
      expect((await repaired(randomUUID())).status).toBe(404)
      expect((await given.place.developer.get(PATH)).status).toBe(403)
      expect((await given.place.developer.post(`${PATH}/${guid}/actions/declare_repaired`)).status).toBe(403)
    })
  })
})
