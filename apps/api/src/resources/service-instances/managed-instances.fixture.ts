import { afterAll, beforeAll, beforeEach, expect } from '@jest/globals'
import { randomUUID } from 'node:crypto'
import { createInstance, openPlans, registerBroker, ScriptedBroker } from '../../service-operations/registered-broker.fixture.js'
import { anOrganization, startTestApi, TEST_SETTINGS, type TestApi } from '../../testing.fixture.js'

const SETTINGS = {
  services: {
    ...TEST_SETTINGS.services,
    polling: { intervalSeconds: 0.05, backoffRate: 1, maxIntervalSeconds: 1, maxDurationSeconds: 60 },
    brokerTimeoutMs: 400,
    checkParameters: true,
    callsPerUser: 2,
  },
}
const SCHEMA = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  type: 'object',
  properties: { size: { type: 'integer' } },
}

/**
 * An API with a registered broker, whose plan `small` has a schema, and a developer who makes instances of it. Call it at the top of a
 * describe block; what it answers is there from `beforeAll` on.
 */
export function withManagedInstances() {
  let api: TestApi
  let broker: ScriptedBroker
  let place: Awaited<ReturnType<typeof anOrganization>>
  let plans: Record<string, string>
  let registered: { readonly guid: string; readonly name: string }
  beforeAll(async () => {
    ;[api, broker] = await Promise.all([startTestApi(SETTINGS), ScriptedBroker.start()])
    place = await anOrganization(api)
    const { services } = broker.catalog as { services: { plans: object[] }[] }
    const [db, plain] = services
    const [small, ...others] = db?.plans ?? []
    broker.catalog = {
      services: [
        { ...db, plans: [{ ...small, schemas: { service_instance: { create: { parameters: SCHEMA } } } }, ...others] },
        plain,
      ],
    }
    registered = await registerBroker(place.admin, broker)
    plans = await openPlans(place.admin, registered.name)
  })
  beforeEach(() => broker.reset())
  afterAll(async () => {
    await api?.close()
    await broker?.stop()
  })

  const aName = () => `db-${randomUUID().slice(0, 8)}`
  const create = (more: Readonly<Record<string, unknown>> = {}, plan = plans['small']) =>
    createInstance(place.developer, place.space.guid, plan, more)
  const read = async (name: string) => (await place.developer.get(`/v3/service_instances?names=${name}`)).body.resources[0]
  const orphansOf = (guid: string) => api.context.db.orphanMitigation.findMany({ where: { serviceInstanceGuid: guid } })
  return {
    get api() {
      return api
    },
    get broker() {
      return broker
    },
    get place() {
      return place
    },
    /** By name, those of the broker; all may use them. */
    get plans() {
      return plans
    },
    get registered() {
      return registered
    },
    aName,
    create,
    /** As the API shows it now. */
    read,
    /** Creates one, and answers it once it is there. */
    made: async (plan = 'small', more: Readonly<Record<string, unknown>> = {}) => {
      const name = aName()
      const job = await place.developer.job(await create({ name, ...more }, plans[plan]))
      expect(job).toMatchObject({ state: 'COMPLETE' })
      return read(name)
    },
    /** Answers how the job of its deletion ended. */
    remove: async (guid: string) => place.developer.job(await place.developer.delete(`/v3/service_instances/${guid}`)),
    key: async (guid: string) =>
      place.developer.post('/v3/service_credential_bindings', {
        type: 'key',
        name: `key-${randomUUID().slice(0, 8)}`,
        relationships: { service_instance: { data: { guid } } },
      }),
    eventsOf: async (guid: string) =>
      (await api.context.db.auditEvent.findMany({ where: { targetGuid: guid }, orderBy: { createdAt: 'asc' } })).map(
        ({ type }) => type,
      ),
    orphansOf,
    /** The mitigator looks by itself in a platform; here when it is asked to. */
    afterALook: async (guid: string) => {
      await api.orphans.look()
      return orphansOf(guid)
    },
  }
}
