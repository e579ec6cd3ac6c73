import { describe, expect, it } from '@jest/globals'
import { randomUUID } from 'node:crypto'
import type { Caller } from '../../testing.fixture.js'
import { withManagedInstances } from './managed-instances.fixture.js'

describe('using instances of service brokers', () => {
  const given = withManagedInstances()
  const { aName, made, eventsOf } = given

  it('is shared with another space, which may bind it and nothing more', async () => {
    const { admin, developer, organization, space } = given.place
    const other = await given.api.context.db.space.create({
      data: { guid: randomUUID(), name: aName(), organizationGuid: organization.guid },
    })
    const guest = await given.api.caller(`guest-${other.name}`)
    await given.api.context.db.role.create({
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
    await given.api.context.db.role.create({
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
    given.broker.script('unbind', { status: 500, body: { description: 'stuck' }, times: 1 })
    const kept = await developer.delete(`${shared}/${other.guid}`)
    expect([kept.status, kept.body.errors[0].title]).toEqual([502, 'CF-ServiceInstanceUnshareFailed'])
    expect((await developer.delete(`${shared}/${other.guid}`)).status).toBe(204)
    expect((await guest.get(`/v3/service_instances/${guid}`)).status).toBe(404)
    expect(await eventsOf(guid)).toEqual(
      expect.arrayContaining(['audit.service_instance.share', 'audit.service_instance.unshare']),
    )
    await admin.patch('/v3/feature_flags/service_instance_sharing', { enabled: false })
  })

  it('lets one user wait for so many answers at once, and for more when those have come', async () => {
    const { guid } = await made()
    const { developer, admin } = given.place
    const path = `/v3/service_instances/${guid}/parameters`
    given.broker.script('fetch-instance', { delayMs: 200 })
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

  it('answers plan, offering and broker with a list, in a number of queries that does not grow', async () => {
    const { developer, space } = given.place
    const fields =
      'fields%5Bservice_plan%5D=guid,name,relationships.service_offering&fields%5Bservice_plan.service_offering%5D=guid,name,relationships.service_broker&fields%5Bservice_plan.service_offering.service_broker%5D=guid,name'
    for (let i = 0; i < 3; i++) await made()
    const list = (more = '') => developer.get(`/v3/service_instances?space_guids=${space.guid}&order_by=name&${fields}${more}`)
    const { body } = await list()
    expect(body.included.service_plans[0]).toMatchObject({
      name: expect.any(String),
      relationships: { service_offering: { data: { guid: expect.any(String) } } },
    })
    expect(body.included.service_brokers).toHaveLength(1)
    const few = await given.api.countQueries(() => list('&per_page=2'))
    expect(await given.api.countQueries(() => list())).toBe(few)
  })
})
