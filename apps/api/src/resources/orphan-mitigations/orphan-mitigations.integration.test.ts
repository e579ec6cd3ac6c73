import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { registerBroker, ScriptedBroker } from '../../service-operations/registered-broker.fixture.js'
import { anOrganization, startTestApi, type TestApi } from '../../testing.fixture.js'

const PATH = '/bloomery/v1/orphan_mitigations'

describe('orphans as operators see them', () => {
  let api: TestApi
  let broker: ScriptedBroker
  let place: Awaited<ReturnType<typeof anOrganization>>
  let registered: { guid: string; name: string }
  beforeAll(async () => {
    ;[api, broker] = await Promise.all([startTestApi(), ScriptedBroker.start()])
    place = await anOrganization(api)
    registered = await registerBroker(place.admin, broker)
  })
  afterAll(async () => {
    await api.close()
    await broker.stop()
  })
  const orphan = (more: object = {}) =>
    api.context.db.orphanMitigation.create({
      data: {
        guid: randomUUID(),
        kind: 'instance',
        serviceInstanceGuid: randomUUID(),
        brokerGuid: registered.guid,
        serviceCatalogId: 'service-db',
        planCatalogId: 'plan-small',
        reason: 'it took too long',
        ...more,
      },
    })
  const listed = async (guid: string) =>
    (await place.admin.get(PATH)).body.resources.find((each: { guid: string }) => each.guid === guid)

  it('are listed with what was tried, and tried again when told to', async () => {
    const { guid, serviceInstanceGuid } = await orphan()
    broker.script('deprovision', { status: 500, body: { description: 'stuck' }, times: 1 })
    await api.orphans.look()
    for (const until = Date.now() + 5_000; (await listed(guid)).attempts === 0 && Date.now() < until;)
      await new Promise((resolve) => setTimeout(resolve, 25))
    expect(await listed(guid)).toMatchObject({
      state: 'waiting',
      kind: 'instance',
      service_instance_guid: serviceInstanceGuid,
      service_binding_guid: null,
      service_broker: registeredAs(),
      reason: 'it took too long',
      attempts: 1,
      last_error: 'Service broker error: stuck',
    })
    await api.context.db.orphanMitigation.update({ where: { guid }, data: { attempts: 11, givenUpAt: new Date() } })
    expect(await listed(guid)).toMatchObject({ state: 'given up', next_attempt_at: null })
    expect((await place.admin.post(`${PATH}/${guid}/actions/retry`)).status).toBe(202)
    expect(await listed(guid)).toMatchObject({ state: 'waiting', attempts: 0, given_up_at: null })
    await api.orphans.look()
    for (const until = Date.now() + 5_000; (await listed(guid)) && Date.now() < until;)
      await new Promise((resolve) => setTimeout(resolve, 25))
    expect(await listed(guid)).toBeUndefined()
    expect(broker.seen('deprovision', serviceInstanceGuid)).toHaveLength(2)
  })
  const registeredAs = () => ({ guid: registered.guid, name: registered.name })

  it('are forgotten when told to, which is on record', async () => {
    const { guid } = await orphan({ nextAttemptAt: new Date('2100-01-01') })
    expect((await place.admin.delete(`${PATH}/${guid}`)).status).toBe(204)
    expect((await place.admin.delete(`${PATH}/${guid}`)).status).toBe(404)
    expect(await listed(guid)).toBeUndefined()
    const events = await api.context.db.auditEvent.findMany({ where: { targetGuid: guid } })
    expect(events.map(({ type }) => type)).toEqual(['audit.bloomery.orphan_mitigation.forget'])
  })

  it('are left alone while a broker is asked about them', async () => {
    const { guid } = await orphan({ claimedBy: 'somebody', claimExpiresAt: new Date(Date.now() + 60_000) })
    expect((await listed(guid)).state).toBe('under way')
    expect((await place.admin.post(`${PATH}/${guid}/actions/retry`)).status).toBe(422)
    expect((await place.admin.delete(`${PATH}/${guid}`)).status).toBe(422)
  })

  it('are nothing for others', async () => {
    const { guid } = await orphan({ nextAttemptAt: new Date('2100-01-01') })
    expect((await place.developer.get(PATH)).status).toBe(403)
    expect((await place.developer.post(`${PATH}/${guid}/actions/retry`)).status).toBe(403)
    expect((await place.developer.delete(`${PATH}/${guid}`)).status).toBe(403)
  })
})
