import { randomUUID } from 'node:crypto'
import { Catalog } from '@bloomery/osb/protocol'
import { createPool, execute, sql } from '@bloomery/database/sql'
import { eventually, withPostgres } from '@bloomery/testing'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Broker } from './broker.js'
import { ServiceFault } from './engines/engine.js'
import { inBrokerSchema } from './state/schema.js'
import { TestHome } from './testing/broker-under-test.fixture.js'
import type { Answer, OsbCaller } from './testing/osb-caller.fixture.js'
import { scrape } from './testing/scrape.fixture.js'
import { ScriptedEngine } from './testing/scripted-engine.fixture.js'

// The tables of the specification (2.17), "every operation × every status", on our broker: what it answers, and what it then holds.
const SERVICE = 'scripted-service'
const [SHARED, DEDICATED] = ['scripted-shared', 'scripted-dedicated']
const ORDER = { service_id: SERVICE, plan_id: SHARED, organization_guid: 'org', space_guid: 'space' }
const BIND = { service_id: SERVICE, plan_id: SHARED, bind_resource: { app_guid: 'app' } }
const ASYNC = '?accepts_incomplete=true'
const QUERY = `?service_id=${SERVICE}&plan_id=${SHARED}&accepts_incomplete=true`
const CODED = (error: string) => ({ error, description: expect.any(String) })

describe('the broker, by the specification', () => {
  const state = withPostgres({ migrated: false })
  const home = new TestHome()
  let engine: ScriptedEngine
  let broker: Broker & { platform: OsbCaller }
  let instance: string
  let binding: string
  const releases: (() => void)[] = []
  beforeAll(async () => {
    engine = new ScriptedEngine()
    broker = await home.start(state.url, { engines: [engine], patienceMs: 250 })
  }, 60_000)
  beforeEach(() => {
    for (const release of releases.splice(0)) release()
    instance = `/v2/service_instances/${randomUUID()}`
    binding = `${instance}/service_bindings/${randomUUID()}`
    engine.calls.length = 0
  })
  afterAll(async () => {
    for (const release of releases.splice(0)) release()
    await broker.close()
    await home.remove()
  })
  const call = (...given: Parameters<OsbCaller['call']>): Promise<Answer> => broker.platform.call(...given)
  const hold = (...given: Parameters<ScriptedEngine['hold']>): (() => void) => {
    const release = engine.hold(...given)
    releases.push(release)
    return release
  }
  const provision = (more: object = {}) => call('PUT', instance + ASYNC, { body: { ...ORDER, ...more } })
  const bind = (more: object = {}) => call('PUT', binding + ASYNC, { body: { ...BIND, ...more } })
  const update = (more: object, query = ASYNC) => call('PATCH', instance + query, { body: { service_id: SERVICE, ...more } })

  describe('every request', () => {
    it.each<[string, Record<string, string | undefined>, number]>([
      ['without a password', { authorization: undefined }, 401],
      ['with a wrong password', { authorization: `Basic ${Buffer.from('platform:wrong').toString('base64')}` }, 401],
      ['with another scheme', { authorization: 'Bearer x' }, 401],
      ['without a version', { 'x-broker-api-version': undefined }, 400],
      ['of version 1.0', { 'x-broker-api-version': '1.0' }, 412],
      ['of version 3.0', { 'x-broker-api-version': '3.0' }, 412],
      ['of version 2.13', { 'x-broker-api-version': '2.13' }, 200],
      ['with a malformed identity', { 'x-broker-api-originating-identity': 'cloudfoundry !!' }, 400],
      [
        'with an identity',
        { 'x-broker-api-originating-identity': `cloudfoundry ${Buffer.from('{"user_id":"u"}').toString('base64')}` },
        200,
      ],
    ])('%s', async (_name, headers, status) => {
      expect((await call('GET', '/v2/catalog', { headers })).status).toBe(status)
    })
    it('is answered with its identity', async () => {
      const { headers } = await call('GET', '/v2/catalog', { headers: { 'x-broker-api-request-identity': 'r-1' } })
      expect(headers.get('x-broker-api-request-identity')).toBe('r-1')
    })
    it.each(['/v2/nothing', '/'])('for %s is not found', async (path) => {
      expect((await call('GET', path)).status).toBe(404)
    })
  })

  it('has a catalog that platforms take, with JSON schemas of all parameters', async () => {
    const { status, body } = await call('GET', '/v2/catalog')
    expect(status).toBe(200)
    const [service] = Catalog.parse(body).services
    expect(service).toMatchObject({
      id: SERVICE,
      bindable: true,
      plan_updateable: true,
      instances_retrievable: true,
      bindings_retrievable: true,
    })
    for (const { schemas } of service?.plans ?? []) {
      const { create, update: change } = schemas?.service_instance ?? {}
      for (const schema of [create, change, schemas?.service_binding?.create])
        expect(schema?.parameters?.['$schema']).toBe('http://json-schema.org/draft-07/schema#')
      expect(change?.parameters?.['properties']).toMatchObject({ backup: {}, restore: {}, schedule: {}, colour: {} })
    }
  })

  describe('provision', () => {
    it('201, then 200 for the same', async () => {
      expect(await provision({ parameters: { colour: 'red' } })).toMatchObject({ status: 201, body: {} })
      expect(await provision({ parameters: { colour: 'red' } })).toMatchObject({ status: 200, body: {} })
      expect(engine.calls).toEqual(['provision shared'])
    })
    it('202 with an operation, the same for the same, and its end', async () => {
      const release = hold('provision')
      const first = await provision()
      expect(first).toMatchObject({ status: 202, body: { operation: expect.any(String) } })
      expect(await provision()).toMatchObject({ status: 202, body: first.body })
      const operation = `${instance}/last_operation?operation=${String(first.body['operation'])}`
      expect(await call('GET', operation)).toMatchObject({ status: 200, body: { state: 'in progress' } })
      expect(await call('GET', `${instance}/last_operation?service_id=${SERVICE}`)).toMatchObject({
        body: { state: 'in progress' },
      })
      expect((await call('GET', instance)).status).toBe(404)
      release()
      await eventually(async () => (await call('GET', operation)).body['state'] === 'succeeded')
      expect((await provision()).status).toBe(200)
    })
    it.each([
      ['plan', { plan_id: DEDICATED }],
      ['organization', { organization_guid: 'other' }],
      ['space', { space_guid: 'other' }],
      ['parameters', { parameters: { colour: 'green' } }],
    ])('409 for another %s', async (_name, other) => {
      await provision()
      expect(await provision(other)).toMatchObject({
        status: 409,
        body: { description: expect.stringContaining('other attributes') },
      })
      expect(engine.instances.has(`dedicated/${instance.split('/')[3]}`)).toBe(false)
    })
    it.each<[string, object]>([
      ['no service_id', { service_id: undefined }],
      ['no plan_id', { plan_id: undefined }],
      ['no organization_guid', { organization_guid: undefined }],
      ['no space_guid', { space_guid: undefined }],
      ['an unknown service', { service_id: 'x' }],
      ['an unknown plan', { plan_id: 'x' }],
      ['parameters that are no object', { parameters: 'x' }],
      ['an unknown parameter', { parameters: { size: 1 } }],
      ['a wrong parameter', { parameters: { colour: 'blue' } }],
      ['a bad schedule', { parameters: { schedule: 'sometimes' } }],
    ])('400 for %s', async (_name, body) => {
      expect(await provision(body)).toMatchObject({ status: 400, body: { description: expect.any(String) } })
      expect((await call('GET', `${instance}/last_operation`)).status).toBe(410)
    })
    it('400 for malformed JSON', async () => {
      expect((await call('PUT', instance + ASYNC, { raw: '{"service_id":' })).status).toBe(400)
      expect((await call('PUT', `${instance}?accepts_incomplete=maybe`, { body: ORDER })).status).toBe(400)
    })
    it('422 AsyncRequired where only a synchronous answer is accepted', async () => {
      expect(await call('PUT', instance, { body: ORDER })).toMatchObject({ status: 422, body: CODED('AsyncRequired') })
      expect(await call('PUT', `${instance}?accepts_incomplete=false`, { body: ORDER })).toMatchObject({ status: 422 })
    })
    it('422 MaintenanceInfoConflict', async () => {
      expect(await provision({ maintenance_info: { version: '1.0.0' } })).toMatchObject({
        status: 422,
        body: CODED('MaintenanceInfoConflict'),
      })
    })
    it('422 ConcurrencyError while it is being deleted', async () => {
      await provision()
      hold('deprovision')
      expect((await call('DELETE', instance + QUERY)).status).toBe(202)
      expect(await provision()).toMatchObject({ status: 422, body: CODED('ConcurrencyError') })
    })
    it('a failure is told, leaves nothing, and may be tried again', async () => {
      engine.failNext('provision', new ServiceFault('No room here.'))
      const { body } = await provision()
      const path = `${instance}/last_operation?operation=${String(body['operation'])}`
      await eventually(async () => (await call('GET', path)).body['state'] === 'failed')
      expect((await call('GET', path)).body).toEqual({ state: 'failed', description: 'No room here.' })
      expect([...engine.instances]).not.toContain(`shared/${instance.split('/')[3]}`)
      expect((await call('GET', instance)).status).toBe(404)
      expect((await bind()).status).toBe(404)
      expect((await provision()).status).toBe(201)
    })
    it('keeps what went wrong inside to itself', async () => {
      engine.failNext('provision', new Error('password=hunter2 at /secret/path'))
      const { body } = await provision()
      const ended = await broker.platform.follow(instance, { status: 202, body, headers: new Headers() })
      expect(ended).toMatchObject({ state: 'failed', description: expect.stringContaining('internal error') })
      expect(JSON.stringify(ended)).not.toContain('hunter2')
      expect((await call('DELETE', instance + QUERY)).status).toBe(200)
    })
  })

  describe('update', () => {
    it('200 for what is quick, and the new plan from then on', async () => {
      await provision()
      expect(await update({ plan_id: DEDICATED })).toMatchObject({ status: 200, body: {} })
      expect((await call('GET', instance)).body).toMatchObject({ service_id: SERVICE, plan_id: DEDICATED })
      expect([...engine.instances].filter((one) => one.endsWith(instance.split('/')[3] ?? '?'))).toEqual([
        `dedicated/${instance.split('/')[3]}`,
      ])
    })
    it('200 for a context, for parameters as they are, and for a schedule', async () => {
      await provision()
      for (const more of [
        { context: { platform: 'cloudfoundry', instance_name: 'new' } },
        {},
        { parameters: { schedule: '0 3 * * *' } },
      ])
        expect((await update(more)).status).toBe(200)
      expect((await call('GET', instance)).body['parameters']).toMatchObject({
        schedule: '0 3 * * *',
        keep_backups: 7,
        backups: [],
      })
      expect((await update({ parameters: { schedule: '' } })).status).toBe(200)
      expect((await call('GET', instance)).body['parameters']).not.toHaveProperty('schedule')
      expect(engine.calls).toEqual(['provision shared'])
    })
    it('202, ConcurrencyError for all else meanwhile, then the end', async () => {
      await provision()
      const release = hold('resize')
      const answer = await update({ parameters: { colour: 'red' } })
      expect(answer.status).toBe(202)
      const concurrency = { status: 422, body: CODED('ConcurrencyError') }
      expect(await update({ plan_id: DEDICATED })).toMatchObject(concurrency)
      expect(await bind()).toMatchObject(concurrency)
      expect(await call('DELETE', instance + QUERY)).toMatchObject(concurrency)
      expect(await call('GET', instance)).toMatchObject(concurrency)
      release()
      expect(await broker.platform.follow(instance, answer)).toEqual({ state: 'succeeded' })
      expect((await call('GET', instance)).body['parameters']).toMatchObject({ colour: 'red' })
    })
    it.each<[string, object]>([
      ['no service_id', { service_id: undefined }],
      ['another service', { service_id: 'x' }],
      ['an unknown plan', { plan_id: 'x' }],
      ['an unknown parameter', { parameters: { size: 1 } }],
      ['an unknown backup', { parameters: { restore: 'none' } }],
      ['two operations in one', { plan_id: DEDICATED, parameters: { backup: true } }],
    ])('400 for %s', async (_name, body) => {
      await provision()
      expect((await update(body)).status).toBe(400)
    })
    it('404 for an unknown instance, 422 AsyncRequired, 422 MaintenanceInfoConflict', async () => {
      expect((await update({})).status).toBe(404)
      await provision()
      expect(await update({}, '')).toMatchObject({ status: 422, body: CODED('AsyncRequired') })
      expect(await update({ maintenance_info: { version: '2.0.0' } })).toMatchObject({
        status: 422,
        body: CODED('MaintenanceInfoConflict'),
      })
    })
    it('a move that fails leaves all where it was, usable', async () => {
      await provision()
      await bind()
      engine.failNext('copy', new ServiceFault('It does not fit.'))
      const ended = await broker.platform.follow(instance, await update({ plan_id: DEDICATED }))
      expect(ended).toEqual({ state: 'failed', description: 'It does not fit.', instance_usable: true, update_repeatable: true })
      expect((await call('GET', instance)).body['plan_id']).toBe(SHARED)
      expect(engine.calls).toContain('reopen')
      expect([...engine.instances].filter((one) => one.endsWith(instance.split('/')[3] ?? '?'))).toEqual([
        `shared/${instance.split('/')[3]}`,
      ])
    })
    it('a smaller plan is refused while the data do not fit', async () => {
      await provision({ plan_id: DEDICATED })
      engine.bytes = 150 * 1024 * 1024
      const ended = await broker.platform.follow(instance, await update({ plan_id: SHARED }))
      engine.bytes = 0
      expect(ended).toMatchObject({ state: 'failed', description: expect.stringContaining('150 MB') })
    })
    it('what is over its limit stays so for new bindings and restored data, and is measured anew with another plan', async () => {
      await provision({ plan_id: DEDICATED })
      await broker.platform.follow(instance, await update({ parameters: { backup: true } }))
      const pool = createPool(inBrokerSchema(state.url), { max: 1 })
      const guid = instance.split('/')[3] ?? ''
      await execute(pool, sql`UPDATE instances SET exceeded = true WHERE guid = ${guid}`).finally(() => pool.end())
      engine.limited.length = 0
      expect((await bind({ plan_id: DEDICATED })).status).toBe(201)
      expect(engine.limited).toEqual([true])
      const { backups } = (await call('GET', instance)).body['parameters'] as { backups: { id: string }[] }
      await broker.platform.follow(instance, await update({ parameters: { restore: backups[0]?.id } }))
      expect(engine.limited).toEqual([true, true])
      await broker.platform.follow(instance, await update({ parameters: { colour: 'red' } }))
      expect(engine.limited).toEqual([true, true, false])
    })
    it('bindings have new credentials after a move, the same user', async () => {
      await provision()
      const before = (await bind()).body['credentials']
      await broker.platform.follow(instance, await update({ plan_id: DEDICATED }))
      const after = (await call('GET', binding)).body['credentials']
      expect(after).toEqual({ ...(before as object), plan: 'dedicated' })
    })
    it('makes backups, keeps as many as wanted, and restores', async () => {
      await provision({ parameters: { keep_backups: 2 } })
      for (let i = 0; i < 3; i++)
        expect(await broker.platform.follow(instance, await update({ parameters: { backup: true } }))).toEqual({
          state: 'succeeded',
        })
      const { backups } = (await call('GET', instance)).body['parameters'] as { backups: { id: string; bytes: number }[] }
      expect(backups).toMatchObject([
        { state: 'made', bytes: 4 },
        { state: 'made', bytes: 4 },
      ])
      expect(await broker.platform.follow(instance, await update({ parameters: { restore: backups[1]?.id } }))).toEqual({
        state: 'succeeded',
      })
      expect(engine.calls.at(-1)).toBe('restore shared')
    })
  })

  describe('deprovision', () => {
    it('200, and 410 from then on', async () => {
      await provision()
      await bind()
      expect(await call('DELETE', instance + QUERY)).toMatchObject({ status: 200, body: {} })
      expect(await call('DELETE', instance + QUERY)).toMatchObject({ status: 410, body: {} })
      expect((await call('GET', `${instance}/last_operation`)).status).toBe(410)
      expect((await call('GET', instance)).status).toBe(404)
      expect([...engine.users.keys()].filter((one) => one.includes(instance.split('/')[3] ?? '?'))).toEqual([])
    })
    it('202, the same operation again, then 410 of last_operation', async () => {
      await provision()
      const release = hold('deprovision')
      const answer = await call('DELETE', instance + QUERY)
      expect(answer.status).toBe(202)
      expect((await call('DELETE', instance + QUERY)).body).toEqual(answer.body)
      expect(await call('GET', instance)).toMatchObject({ status: 422, body: CODED('ConcurrencyError') })
      release()
      await eventually(async () => (await call('GET', `${instance}/last_operation`)).status === 410)
    })
    it.each([
      ['no service_id', `?plan_id=${SHARED}&accepts_incomplete=true`, 400],
      ['no plan_id', `?service_id=${SERVICE}&accepts_incomplete=true`, 400],
      ['another service', `?service_id=x&plan_id=${SHARED}&accepts_incomplete=true`, 400],
      ['a synchronous answer', `?service_id=${SERVICE}&plan_id=${SHARED}`, 422],
    ])('with %s: %s is answered %i', async (_name, query, status) => {
      await provision()
      expect((await call('DELETE', instance + query)).status).toBe(status)
      expect((await call('GET', instance)).status).toBe(200)
    })
    it('while it is being made gives the making up', async () => {
      const release = hold('provision')
      expect((await provision()).status).toBe(202)
      const answer = await call('DELETE', instance + QUERY)
      expect(answer.status).toBe(202)
      release()
      await eventually(async () => (await call('GET', `${instance}/last_operation`)).status === 410)
      expect([...engine.instances].some((one) => one.endsWith(instance.split('/')[3] ?? '?'))).toBe(false)
    })
    it('that fails may be asked for again', async () => {
      await provision()
      engine.failNext('deprovision', new ServiceFault('Not now.'))
      const ended = await broker.platform.follow(instance, await call('DELETE', instance + QUERY))
      expect(ended).toEqual({ state: 'failed', description: 'Not now.', instance_usable: false })
      expect((await call('DELETE', instance + QUERY)).status).toBe(200)
    })
  })

  describe('bind', () => {
    beforeEach(async () => void (await provision()))
    it('201 with credentials and endpoints, then 200 with the same', async () => {
      const first = await bind({ parameters: { role: 'reader' } })
      expect(first).toMatchObject({
        status: 201,
        body: { credentials: { username: expect.any(String) }, endpoints: [{ ports: ['1'] }] },
      })
      expect(await bind({ parameters: { role: 'reader' } })).toMatchObject({ status: 200, body: first.body })
      expect(await call('GET', binding)).toMatchObject({ status: 200, body: { ...first.body, parameters: { role: 'reader' } } })
    })
    it('201 without accepts_incomplete too, and for a key', async () => {
      expect((await call('PUT', binding, { body: { ...BIND, bind_resource: {} } })).status).toBe(201)
    })
    it('202 without credentials, the same operation again, then the binding', async () => {
      const release = hold('bind')
      const answer = await bind()
      expect(answer).toMatchObject({ status: 202, body: { operation: expect.any(String) } })
      expect(answer.body).not.toHaveProperty('credentials')
      expect((await bind()).body).toEqual(answer.body)
      expect((await call('GET', binding)).status).toBe(404)
      expect(await call('GET', `${binding}/last_operation`)).toMatchObject({ status: 200, body: { state: 'in progress' } })
      expect(await update({ plan_id: DEDICATED })).toMatchObject({ status: 422, body: CODED('ConcurrencyError') })
      release()
      expect(await broker.platform.follow(binding, answer)).toEqual({ state: 'succeeded' })
      expect((await call('GET', binding)).status).toBe(200)
    })
    it.each<[string, object]>([
      ['app', { bind_resource: { app_guid: 'other' } }],
      ['parameters', { parameters: { role: 'writer' } }],
    ])('409 for another %s', async (_name, other) => {
      await bind()
      expect((await bind(other)).status).toBe(409)
    })
    it.each<[string, object]>([
      ['no service_id', { service_id: undefined }],
      ['no plan_id', { plan_id: undefined }],
      ['an unknown plan', { plan_id: 'x' }],
      ['a wrong parameter', { parameters: { role: 'king' } }],
    ])('400 for %s', async (_name, body) => {
      expect((await bind(body)).status).toBe(400)
    })
    it('404 for an unknown instance', async () => {
      const stranger = `/v2/service_instances/${randomUUID()}/service_bindings/b`
      expect((await call('PUT', stranger + ASYNC, { body: BIND })).status).toBe(404)
      expect((await call('GET', stranger)).status).toBe(404)
    })
    it('a failure is told, lets nobody in, and may be tried again', async () => {
      engine.failNext('bind', new ServiceFault('Too many users.'))
      expect(await broker.platform.follow(binding, await bind())).toEqual({ state: 'failed', description: 'Too many users.' })
      expect((await call('GET', binding)).status).toBe(404)
      engine.failNext('bind', new ServiceFault('Too many users.'))
      expect(await call('PUT', binding, { body: BIND })).toMatchObject({ status: 500, body: { description: 'Too many users.' } })
      expect((await bind()).status).toBe(201)
    })
  })

  describe('unbind', () => {
    beforeEach(async () => {
      await provision()
      await bind()
    })
    it('200, and 410 from then on', async () => {
      expect(await call('DELETE', binding + QUERY)).toMatchObject({ status: 200, body: {} })
      expect(await call('DELETE', binding + QUERY)).toMatchObject({ status: 410, body: {} })
      expect((await call('GET', binding)).status).toBe(404)
      expect((await call('GET', `${binding}/last_operation`)).status).toBe(410)
    })
    it('202, ConcurrencyError for binding it again, then gone', async () => {
      const release = hold('unbind')
      const answer = await call('DELETE', binding + QUERY)
      expect(answer.status).toBe(202)
      expect((await call('DELETE', binding + QUERY)).body).toEqual(answer.body)
      expect(await bind()).toMatchObject({ status: 422, body: CODED('ConcurrencyError') })
      release()
      expect(await broker.platform.follow(binding, answer)).toEqual({ state: 'succeeded' })
    })
    it('400 without service_id or plan_id', async () => {
      for (const query of [`?plan_id=${SHARED}`, `?service_id=${SERVICE}`])
        expect((await call('DELETE', binding + query)).status).toBe(400)
    })
    it('that fails may be asked for again', async () => {
      engine.failNext('unbind', new ServiceFault('Not now.'))
      expect(await broker.platform.follow(binding, await call('DELETE', binding + QUERY))).toMatchObject({ state: 'failed' })
      expect((await call('DELETE', binding + QUERY)).status).toBe(200)
    })
  })

  it('last_operation refuses operations of others, and knows nothing of what never was', async () => {
    const answer = await provision()
    expect(answer.status).toBe(201)
    expect((await call('GET', `${instance}/last_operation?operation=${randomUUID()}`)).status).toBe(400)
    expect((await call('GET', `${instance}/last_operation?operation=no-guid`)).status).toBe(400)
    expect((await call('GET', `${binding}/last_operation?operation=x`)).status).toBe(410)
  })

  it('tells figures of each instance, to whoever has the password', async () => {
    await provision({ context: { platform: 'cloudfoundry', instance_name: 'my "db"\\\n' } })
    const samples = (await scrape(broker.platform)).filter(({ labels }) => instance.endsWith(labels['instance'] ?? '?'))
    expect(samples).toEqual(
      ['up', 'data_bytes', 'data_limit_bytes'].map((name) => ({
        name: `bloomery_service_${name}`,
        labels: expect.objectContaining({
          name: 'my "db"\\\n',
          offering: 'redis',
          plan: 'shared',
          space: 'space',
          organization: 'org',
        }),
        value: expect.any(Number),
      })),
    )
    expect((await call('GET', '/metrics', { headers: { authorization: undefined } })).status).toBe(401)
  })
})
