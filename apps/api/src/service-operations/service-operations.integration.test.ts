import { randomUUID } from 'node:crypto'
import { createDatabase, createPool } from '@bloomery/database'
import { silentLogger } from '@bloomery/telemetry'
import { createInstanceHandler } from '../resources/service-instances/create-handler.js'
import { deleteInstanceHandler } from '../resources/service-instances/delete-handler.js'
import { updateInstanceHandler } from '../resources/service-instances/update-handler.js'
import { anOrganization, startTestApi, TEST_SETTINGS, type TestApi } from '../testing.fixture.js'
import { createInstance, openPlans, registerBroker, ScriptedBroker, until } from './registered-broker.fixture.js'
import { ServiceOperations } from './service-operations.js'

const POLLING = { intervalSeconds: 0.05, backoffRate: 1, maxIntervalSeconds: 1, maxDurationSeconds: 60 }

describe('service operations under deaths and bad company', () => {
  let api: TestApi
  let broker: ScriptedBroker
  let place: Awaited<ReturnType<typeof anOrganization>>
  let plans: Record<string, string>
  let plan: string | undefined
  const workers: { close(): Promise<unknown> }[] = []
  beforeAll(async () => {
    ;[api, broker] = await Promise.all([
      startTestApi({ services: { ...TEST_SETTINGS.services, polling: POLLING, brokerTimeoutMs: 6_000, perBroker: 4 } }),
      ScriptedBroker.start(),
    ])
    place = await anOrganization(api)
    plans = await openPlans(place.admin, (await registerBroker(place.admin, broker)).name)
    plan = plans['small']
  })
  beforeEach(() => broker.reset())
  afterEach(async () => {
    await Promise.all(workers.splice(0).map((worker) => worker.close()))
  })
  afterAll(async () => {
    await api.close()
    await broker.stop()
  })

  /** Another api process, as far as service operations go. */
  function anotherWorker(): ServiceOperations {
    const { keyring, jobs, brokers, now } = api.context
    const pool = createPool(api.databaseUrl, { max: 4 })
    const db = createDatabase(api.databaseUrl)
    const operations = new ServiceOperations({
      db,
      pool,
      keyring,
      jobs,
      brokers,
      log: silentLogger,
      now,
      polling: POLLING,
      perBroker: 4,
    })
    const parts = { ...api.context, db, operations }
    operations.register('instance', 'create', createInstanceHandler(parts))
    operations.register('instance', 'update', updateInstanceHandler(parts))
    operations.register('instance', 'delete', deleteInstanceHandler(parts))
    workers.push({ close: () => operations.close().then(() => Promise.all([db.$disconnect(), pool.end()])) })
    return operations
  }
  /** As if the process that holds the claims had died, and their leases had run out. */
  const killHolders = () =>
    api.context.db.serviceOperation.updateMany({ where: { claimedBy: { not: null } }, data: { claimExpiresAt: new Date(0) } })
  const create = async () => {
    const name = `db-${randomUUID().slice(0, 8)}`
    const accepted = await createInstance(place.developer, place.space.guid, plan, { name })
    const { guid } = await api.context.db.serviceInstance.findFirstOrThrow({ where: { name } })
    return { accepted, guid, name }
  }
  const read = async (guid: string) => (await place.developer.get(`/v3/service_instances/${guid}`)).body
  const audited = async (guid: string, type: string) => api.context.db.auditEvent.count({ where: { targetGuid: guid, type } })
  const orphans = (guid: string) => api.context.db.orphanMitigation.count({ where: { serviceInstanceGuid: guid } })
  const asked = (operation: 'provision' | 'update' | 'deprovision', guid: string) =>
    until(
      async () => broker.seen(operation, guid).length,
      (count) => count > 0,
    )

  it('provision: another takes over while the first waits, and what the first then hears changes nothing', async () => {
    broker.script('provision', { lateMs: 1_500, times: 1 })
    const { accepted, guid } = await create()
    await asked('provision', guid)
    await killHolders()
    anotherWorker().start(50)
    expect((await place.developer.job(accepted)).state).toBe('COMPLETE')
    expect(broker.seen('provision', guid)).toHaveLength(2)
    await new Promise((resolve) => setTimeout(resolve, 1_800))
    expect(await read(guid)).toMatchObject({ last_operation: { type: 'create', state: 'succeeded' } })
    expect(await audited(guid, 'audit.service_instance.create')).toBe(1)
    expect(broker.instances.has(guid)).toBe(true)
    expect(await orphans(guid)).toBe(0)
  })

  it('provision: the answer of the first is bad and late, and mitigates nothing that the second has made', async () => {
    broker.script('provision', { status: 500, does: true, lateMs: 1_000, times: 1 })
    const { accepted, guid } = await create()
    await asked('provision', guid)
    await killHolders()
    anotherWorker().start(50)
    expect((await place.developer.job(accepted)).state).toBe('COMPLETE')
    await new Promise((resolve) => setTimeout(resolve, 1_300))
    expect([await orphans(guid), broker.instances.has(guid)]).toEqual([0, true])
  })

  it('provision: a conflict with what the dead one has made is ours to clean up', async () => {
    broker.script('provision', { lateMs: 1_000, times: 1 })
    broker.script('provision', { status: 409, body: {}, times: 1 })
    const { accepted, guid } = await create()
    await asked('provision', guid)
    await killHolders()
    anotherWorker().start(50)
    expect((await place.developer.job(accepted)).state).toBe('FAILED')
    await until(
      async () => {
        await api.orphans.look()
        return orphans(guid)
      },
      (count) => count === 0,
    )
    expect(broker.instances.has(guid)).toBe(false)
  })

  it('polling goes on where the dead one stopped', async () => {
    broker.asyncPolls = 3
    broker.script('last-operation', { hang: true, times: 1 })
    const { accepted, guid } = await create()
    await until(
      async () => broker.seen('last-operation', guid).length,
      (count) => count === 1,
    )
    await killHolders()
    anotherWorker().start(50)
    expect((await place.developer.job(accepted)).state).toBe('COMPLETE')
    expect(broker.seen('provision', guid)).toHaveLength(1)
    expect(await audited(guid, 'audit.service_instance.create')).toBe(1)
  })

  it('update: asked again after a death, and a broker that is still at it is polled', async () => {
    const { accepted, guid } = await create()
    await place.developer.job(accepted)
    broker.asyncPolls = 2
    broker.script('update', { lateMs: 2_000, times: 1 })
    broker.script('update', { status: 422, body: { error: 'ConcurrencyError' }, times: 1 })
    const update = await place.developer.patch(`/v3/service_instances/${guid}`, { parameters: { size: 2 } })
    await asked('update', guid)
    await killHolders()
    anotherWorker().start(50)
    expect((await place.developer.job(update)).state).toBe('COMPLETE')
    expect(broker.instances.get(guid)?.body.parameters).toEqual({ size: 2 })
    expect(await audited(guid, 'audit.service_instance.update')).toBe(1)
  })

  it('update: what is asked again after a death says that it is the same', async () => {
    const { accepted, guid } = await create()
    await place.developer.job(accepted)
    const backup = async () => {
      const asked = await place.developer.patch(`/v3/service_instances/${guid}`, { parameters: { backup: true } })
      return (await place.developer.job(asked)).state
    }
    broker.script('update', { lateMs: 2_000, times: 1 })
    const dying = backup()
    await asked('update', guid)
    await killHolders()
    anotherWorker().start(50)
    expect(await dying).toBe('COMPLETE')
    expect(await backup()).toBe('COMPLETE')
    const [first, again, another] = broker.seen('update', guid).map(({ headers }) => headers['x-broker-api-request-identity'])
    expect(again).toBe(first)
    expect(another).not.toBe(first)
  })

  it.each<[string, unknown, number]>([
    ['is over where the broker shows the new plan', { plan_id: 'plan-large' }, 1],
    ['is asked for again where it shows the former one', { plan_id: 'plan-small' }, 2],
    ['is asked for again where it shows none', {}, 2],
  ])('update: a change of plan that somebody died over %s', async (_name, shown, requests) => {
    const { accepted, guid } = await create()
    await place.developer.job(accepted)
    broker.script('update', { lateMs: 2_000, times: 1 })
    broker.script('fetch-instance', { status: 200, body: shown })
    const update = await place.developer.patch(`/v3/service_instances/${guid}`, {
      relationships: { service_plan: { data: { guid: plans['large'] } } },
    })
    await asked('update', guid)
    await killHolders()
    anotherWorker().start(50)
    expect((await place.developer.job(update)).state).toBe('COMPLETE')
    expect(broker.seen('update', guid)).toHaveLength(requests)
    expect((await read(guid)).relationships.service_plan.data.guid).toBe(plans['large'])
  })

  it('deprovision: what the dead one has removed is gone, and no error', async () => {
    const { accepted, guid } = await create()
    await place.developer.job(accepted)
    broker.script('deprovision', { lateMs: 1_500, times: 1 })
    const deleted = await place.developer.delete(`/v3/service_instances/${guid}`)
    await asked('deprovision', guid)
    await killHolders()
    anotherWorker().start(50)
    expect((await place.developer.job(deleted)).state).toBe('COMPLETE')
    expect((await place.developer.get(`/v3/service_instances/${guid}`)).status).toBe(404)
    expect(await audited(guid, 'audit.service_instance.delete')).toBe(1)
    expect(broker.instances.has(guid)).toBe(false)
  })

  it('a death before the broker was asked loses nothing', async () => {
    await api.context.operations.close()
    const { accepted, guid } = await create()
    await api.context.db.serviceOperation.updateMany({ data: { claimedBy: 'dead', claimToken: 7, claimExpiresAt: new Date(0) } })
    expect(broker.seen('provision', guid)).toEqual([])
    anotherWorker().start(50)
    expect((await place.developer.job(accepted)).state).toBe('COMPLETE')
  })

  it('many workers ask once for each, however many look', async () => {
    const created = await Promise.all(Array.from({ length: 12 }, () => create()))
    for (let i = 0; i < 4; i++) anotherWorker().start(20)
    for (const { accepted } of created) expect((await place.developer.job(accepted)).state).toBe('COMPLETE')
    for (const { guid } of created) expect(broker.seen('provision', guid)).toHaveLength(1)
  })

  it('a broker that hangs holds up itself alone', async () => {
    const slow = await ScriptedBroker.start()
    const slowPlan = (await openPlans(place.admin, (await registerBroker(place.admin, slow)).name))['small']
    slow.script('provision', { hang: true })
    const stuck = await Promise.all(Array.from({ length: 20 }, () => createInstance(place.developer, place.space.guid, slowPlan)))
    anotherWorker().start(50)
    await until(
      async () => slow.seen('provision').length,
      (count) => count === 4,
    )
    const began = Date.now()
    for (let i = 0; i < 5; i++) expect((await place.developer.job((await create()).accepted)).state).toBe('COMPLETE')
    expect(Date.now() - began).toBeLessThan(5_500)
    expect(slow.seen('provision').length).toBeLessThanOrEqual(8)
    expect(stuck.every(({ status }) => status === 202)).toBe(true)
    await slow.stop()
  })

  it('keeps parameters where nobody reads them', async () => {
    const secret = 'word-that-nobody-reads'
    await createInstance(place.developer, place.space.guid, plan, { parameters: { password: secret } })
    const written = JSON.stringify(
      [
        await api.context.db.serviceOperation.findMany(),
        await api.context.db.job.findMany(),
        await api.context.db.auditEvent.findMany(),
        await api.context.db.serviceInstance.findMany(),
      ],
      (_key, value: unknown) => (typeof value === 'bigint' ? value.toString() : value),
    )
    expect(written).not.toContain(secret)
  })
})
