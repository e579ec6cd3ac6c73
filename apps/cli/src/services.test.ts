import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { json } from '@bloomery/client/testing'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { anApp, Bloom } from './bloom.fixture.js'

let bloom: Bloom
beforeEach(async () => {
  bloom = new Bloom()
  await bloom.open()
  await bloom.login()
  bloom.list('/v3/apps', [anApp()])
  bloom.list('/v3/service_instances', [db])
  bloom.list('/v3/service_plans', [small])
  bloom.list('/v3/service_offerings', [mysql])
  bloom.list('/v3/service_brokers', [{ guid: 'broker', name: 'bundled', url: 'http://b' }])
})
afterEach(() => bloom.close())

const link = (guid: string) => ({ data: { guid } })
const done = { type: 'create', state: 'succeeded', description: '' }
const mysql = { guid: 'mysql', name: 'mysql', description: 'A database', relationships: { service_broker: link('broker') } }
const small = {
  ...{ guid: 'small', name: 'small', description: 'Little', free: true, available: true, visibility_type: 'public' },
  relationships: { service_offering: link('mysql') },
}
const db = {
  ...{ guid: 'db-guid', name: 'db', type: 'managed', tags: ['sql'], upgrade_available: false, last_operation: done },
  relationships: { space: link('s'), service_plan: link('small') },
}
const aBinding = (guid: string, createdAt: string, type = 'app') => ({
  ...{ guid, name: type === 'key' ? 'k' : null, type, created_at: createdAt, last_operation: done },
  relationships: { service_instance: link('db-guid'), ...(type === 'app' ? { app: link('shop-guid') } : {}) },
})

describe('services', () => {
  it('are offered, listed and shown', async () => {
    bloom.list('/v3/service_credential_bindings', [aBinding('b1', '2026-01-01T00:00:00Z')])
    bloom.answer('GET /v3/service_plans/small', 200, small)
    bloom.answer('GET /v3/service_offerings/mysql', 200, mysql)
    expect((await bloom.run('marketplace')).stdout).toMatch(/mysql +small +A database +bundled/)
    expect((await bloom.run('m -e mysql')).stdout).toMatch(/small +Little +free +yes/)
    expect((await bloom.run('services')).stdout).toMatch(/db +mysql +small +shop +create succeeded +no/)
    expect((await bloom.run('service db')).stdout).toMatch(/offering: +mysql[^]*shop +create succeeded +b1/)
    expect((await bloom.run('service db --guid')).stdout).toBe('db-guid\n')
  })
  it('are made with parameters from a file, and waited for', async () => {
    bloom.takeAsJob('POST /v3/service_instances')
    await writeFile(join(bloom.home, 'p.json'), '{"size":3}')
    const { code, stdout } = await bloom.run('create-service mysql small db2 -c p.json -t a,b')
    expect([code, stdout.includes('OK')]).toEqual([0, true])
    expect(bloom.sent[0]?.body).toEqual({
      type: 'managed',
      name: 'db2',
      relationships: { space: link('s'), service_plan: link('small') },
      tags: ['a', 'b'],
      parameters: { size: 3 },
    })
    expect(bloom.cloud.requests.filter((each) => each.includes('/v3/jobs/j')).length).toBeGreaterThan(1)
    const wrong = await bloom.run('create-service mysql small db2 -c nothing')
    expect([wrong.code, wrong.stderr.includes('-c takes a JSON object')]).toEqual([1, true])
  })
  it('fail with the reason of the broker', async () => {
    bloom.cloud.on('DELETE /v3/service_instances/db-guid', (_request, response) =>
      json(response, 202, {}, { location: `${bloom.cloud.url}/v3/jobs/j` }),
    )
    bloom.answer('GET /v3/jobs/j', 200, {
      ...{ guid: 'j', operation: 'x', state: 'FAILED' },
      errors: [{ code: 10009, title: 'CF-UnableToPerform', detail: 'delete could not be completed: still busy' }],
    })
    expect(await bloom.run('delete-service db -f')).toMatchObject({ code: 1, stderr: expect.stringContaining('still busy') })
  })
  it('are changed, renamed, shared and purged', async () => {
    bloom.answer('GET /v3/service_plans/small', 200, { ...small, guid: 'tiny' })
    bloom.takeAsJob('PATCH /v3/service_instances/db-guid')
    bloom.take('POST /v3/service_instances/db-guid/relationships/shared_spaces')
    bloom.take('DELETE /v3/service_instances/db-guid')
    bloom.list('/v3/spaces', [{ guid: 'other', name: 'other' }])
    for (const line of [
      'update-service db -p small',
      'rename-service db db2',
      'share-service db -s other',
      'purge-service-instance db -f',
    ])
      expect([line, (await bloom.run(line)).code]).toEqual([line, 0])
    expect(bloom.sent.map(({ body }) => body)).toEqual([
      { relationships: { service_plan: link('small') } },
      { name: 'db2' },
      { data: [{ guid: 'other' }] },
      undefined,
    ])
  })
  it('can be what users have already', async () => {
    bloom.take('POST /v3/service_instances')
    const line = ['cups', 'mine', '-p', '{"uri":"mysql://x"}', '-l', 'syslog://h:1']
    expect((await bloom.run(line)).code).toBe(0)
    expect(bloom.sent[0]?.body).toMatchObject({
      ...{ type: 'user-provided', name: 'mine', credentials: { uri: 'mysql://x' }, syslog_drain_url: 'syslog://h:1' },
    })
  })
})

describe('bindings', () => {
  it('are made, and found made', async () => {
    bloom.takeAsJob('POST /v3/service_credential_bindings')
    expect((await bloom.run('bind-service shop db --strategy multiple')).code).toBe(0)
    expect(bloom.sent[0]?.body).toEqual({
      type: 'app',
      relationships: { app: link('shop-guid'), service_instance: link('db-guid') },
      strategy: 'multiple',
    })
    bloom.answer('POST /v3/service_credential_bindings', 422, {
      errors: [{ code: 10008, title: 'CF-UnprocessableEntity', detail: 'The app is already bound to the service instance' }],
    })
    expect(await bloom.run('bind-service shop db')).toMatchObject({ code: 0, stdout: expect.stringContaining('already bound') })
  })
  it('that newer ones replaced go', async () => {
    bloom.list('/v3/service_credential_bindings', [
      aBinding('old', '2026-01-01T00:00:00Z'),
      aBinding('new', '2026-01-03T00:00:00Z'),
      aBinding('older', '2026-01-02T00:00:00Z'),
    ])
    for (const guid of ['old', 'older', 'new']) bloom.takeAsJob(`DELETE /v3/service_credential_bindings/${guid}`)
    expect((await bloom.run('cleanup-outdated-service-bindings shop --force')).code).toBe(0)
    expect(bloom.sent.map(({ route }) => route)).toEqual([
      'DELETE /v3/service_credential_bindings/older',
      'DELETE /v3/service_credential_bindings/old',
    ])
  })
  it('without an app are keys', async () => {
    bloom.list('/v3/service_credential_bindings', [aBinding('k1', '2026-01-01T00:00:00Z', 'key')])
    bloom.answer('GET /v3/service_credential_bindings/k1/details', 200, { credentials: { uri: 'mysql://x' } })
    bloom.takeAsJob('POST /v3/service_credential_bindings')
    bloom.takeAsJob('DELETE /v3/service_credential_bindings/k1')
    expect((await bloom.run('create-service-key db k')).code).toBe(0)
    expect((await bloom.run('service-keys db')).stdout).toMatch(/k +create succeeded/)
    expect((await bloom.run('service-key db k')).stdout).toContain('"uri": "mysql://x"')
    expect((await bloom.run('delete-service-key db k -f')).code).toBe(0)
    expect(bloom.sent.map(({ route }) => route.split(' ')[0])).toEqual(['POST', 'DELETE'])
  })
  it('of routes name the route', async () => {
    bloom.list('/v3/domains', [{ guid: 'd', name: 'apps.test' }])
    bloom.list('/v3/routes', [{ guid: 'r', url: 'a.apps.test', destinations: [] }])
    bloom.list('/v3/service_route_bindings', [{ guid: 'rb' }])
    bloom.takeAsJob('POST /v3/service_route_bindings')
    bloom.takeAsJob('DELETE /v3/service_route_bindings/rb')
    expect((await bloom.run('bind-route-service apps.test db -n a')).code).toBe(0)
    expect((await bloom.run('unbind-route-service apps.test db -n a -f')).code).toBe(0)
    expect(bloom.sent[0]?.body).toEqual({ relationships: { route: link('r'), service_instance: link('db-guid') } })
  })
})

describe('brokers', () => {
  it('are registered with a password that need not be typed where others read it', async () => {
    bloom.takeAsJob('POST /v3/service_brokers')
    bloom.takeAsJob('DELETE /v3/service_brokers/broker')
    bloom.env = { ...bloom.env, BLOOM_BROKER_PASSWORD: 'p' }
    expect((await bloom.run('create-service-broker mine admin https://b.example.com --space-scoped')).code).toBe(0)
    expect(bloom.sent[0]?.body).toEqual({
      name: 'mine',
      url: 'https://b.example.com',
      authentication: { type: 'basic', credentials: { username: 'admin', password: 'p' } },
      relationships: { space: link('s') },
    })
    expect((await bloom.run('service-brokers')).stdout).toMatch(/bundled +http:\/\/b/)
    expect((await bloom.run('delete-service-broker bundled -f')).code).toBe(0)
  })
  it('are opened to orgs', async () => {
    bloom.take('POST /v3/service_plans/small/visibility')
    expect((await bloom.run('enable-service-access mysql')).code).toBe(0)
    expect((await bloom.run('disable-service-access mysql -p small')).code).toBe(0)
    expect(bloom.sent.map(({ body }) => body)).toEqual([{ type: 'public' }, { type: 'admin' }])
    expect((await bloom.run('service-access')).stdout).toMatch(/mysql +small +all/)
  })
})

describe('orphans', () => {
  const PATH = '/bloomery/v1/orphan_mitigations'
  const orphan = {
    ...{ guid: 'o1', state: 'given up', kind: 'binding', service_instance_guid: 'i', service_binding_guid: 'b-guid' },
    ...{
      service_broker: { guid: 'x', name: 'bundled' },
      reason: 'timeout',
      attempts: 11,
      last_error: 'no',
      next_attempt_at: null,
    },
  }

  it('are listed, tried again and forgotten', async () => {
    bloom.answer(`GET ${PATH}`, 200, { total: 1, resources: [orphan] })
    bloom.take(`POST ${PATH}/o1/actions/retry`)
    bloom.take(`DELETE ${PATH}/o1`)
    expect((await bloom.run('service-orphans')).stdout).toMatch(/o1 +bundled +binding +b-guid +given up +11 +no/)
    await bloom.run('service-orphans retry o1')
    await bloom.run('service-orphans forget o1')
    expect(bloom.sent.map(({ route }) => route)).toEqual([`POST ${PATH}/o1/actions/retry`, `DELETE ${PATH}/o1`])
    expect((await bloom.run('service-orphans mend o1')).stderr).toMatch(/no action of service-orphans/)
    expect((await bloom.run('service-orphans retry')).stderr).toMatch(/Which one/)
  })

  it('are none in most places', async () => {
    bloom.answer(`GET ${PATH}`, 200, { total: 0, resources: [] })
    expect((await bloom.run('service-orphans')).stdout).toMatch(/nobody wants/)
  })
})

describe('instances that cannot be used', () => {
  const PATH = '/bloomery/v1/unusable_service_instances'

  it('are listed and declared repaired', async () => {
    const instance = {
      ...{ guid: 'u1', name: 'db', organization: { name: 'o' }, space: { name: 'dev' }, service_broker: { name: 'bundled' } },
      ...{ service_offering: 'mysql', service_plan: 'small', last_operation: { description: 'disk is gone' } },
    }
    bloom.answer(`GET ${PATH}`, 200, { total: 3, resources: [instance] })
    bloom.take(`POST ${PATH}/u1/actions/declare_repaired`)
    expect((await bloom.run('unusable-services')).stdout).toMatch(
      /u1 +db +o +dev +mysql +small +bundled +disk is gone[^]*2 more\.[^]*repaired GUID/,
    )
    expect((await bloom.run('unusable-services repaired u1')).code).toBe(0)
    expect(bloom.sent.map(({ route }) => route)).toEqual([`POST ${PATH}/u1/actions/declare_repaired`])
    expect((await bloom.run('unusable-services mend u1')).stderr).toMatch(/no action of unusable-services/)
    expect((await bloom.run('unusable-services repaired')).stderr).toMatch(/Which one/)
  })

  it('are none in most places', async () => {
    bloom.answer(`GET ${PATH}`, 200, { total: 0, resources: [] })
    expect((await bloom.run('unusable-services')).stdout).toMatch(/No service broker has said/)
  })
})
