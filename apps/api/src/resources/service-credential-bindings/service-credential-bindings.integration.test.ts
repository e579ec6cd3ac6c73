import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { eventually } from '@bloomery/testing'
import { aManagedInstance, BindingBroker, type BrokerCall } from '../../service-bindings/bound-services.fixture.js'
import { anOrganization, startTestApi, type Answer, type Caller, type Json, type TestApi } from '../../testing.fixture.js'
import { createApp } from '../push.fixture.js'

const PATH = '/v3/service_credential_bindings'
let api: TestApi
let place: Awaited<ReturnType<typeof anOrganization>>
let broker: BindingBroker
let url: string
beforeAll(async () => {
  api = await startTestApi()
  place = await anOrganization(api)
  broker = new BindingBroker()
  url = await broker.start()
})
afterAll(async () => {
  broker.close()
  await api.close()
})
beforeEach(() => {
  broker.answer = () => undefined
  broker.calls.length = 0
})

const post = (caller: Caller, service: string, more: Record<string, unknown>): Promise<Answer> => {
  const { app, ...rest } = more
  return caller.post(PATH, {
    type: app === undefined ? 'key' : 'app',
    relationships: {
      service_instance: { data: { guid: service } },
      ...(app === undefined ? {} : { app: { data: { guid: app } } }),
    },
    ...rest,
  })
}
const anApp = async (): Promise<string> => (await createApp(place.developer, place.space.guid)).guid
const anInstance = (options: Parameters<typeof aManagedInstance>[3] = {}) => aManagedInstance(api, place.space.guid, url, options)
const list = async (query: string): Promise<Json[]> => (await place.developer.get(`${PATH}?${query}`)).body.resources
const eventsOf = async (guid: string): Promise<string[]> =>
  (await api.context.db.auditEvent.findMany({ where: { targetGuid: guid }, orderBy: { sequence: 'asc' } })).map(
    ({ type }) => type,
  )
const isBinding = (call: BrokerCall): boolean => call.path.includes('/service_bindings/')

describe('app bindings of managed services', () => {
  it('are made by the broker, with all it is to be told', async () => {
    const [app, service] = [await anApp(), await anInstance()]
    const answer = await post(place.developer, service.guid, { app, name: 'main', parameters: { role: 'reader' } })
    expect(answer.status).toBe(202)
    expect(await place.developer.job(answer)).toMatchObject({ state: 'COMPLETE', operation: 'service_bindings.create' })
    const [binding] = await list(`app_guids=${app}&include=app`)
    expect(binding).toMatchObject({ name: 'main', type: 'app', last_operation: { type: 'create', state: 'succeeded' } })
    const [call] = broker.of('PUT', binding.guid)
    expect(call?.query.get('accepts_incomplete')).toBe('true')
    expect(call?.body).toMatchObject({
      app_guid: app,
      bind_resource: { app_guid: app, space_guid: place.space.guid },
      context: { platform: 'cloudfoundry', space_guid: place.space.guid, organization_name: expect.any(String) },
      parameters: { role: 'reader' },
    })
    expect(Buffer.from(String(call?.headers['x-broker-api-originating-identity']).split(' ')[1] ?? '', 'base64').toString()).toBe(
      JSON.stringify({ user_id: place.developer.guid }),
    )
    const details = await place.developer.get(`${PATH}/${binding.guid}/details`)
    expect(details.body).toEqual({ credentials: { uri: `mysql://u:secret-${binding.guid}@db:3306/d` }, volume_mounts: [] })
    expect((await place.developer.get(`${PATH}/${binding.guid}/parameters`)).body).toEqual({ size: 3 })
    const env = await place.developer.get(`/v3/apps/${app}/env`)
    expect(env.body.system_env_json.VCAP_SERVICES.mysql).toEqual([
      {
        label: 'mysql',
        provider: null,
        plan: 'small',
        name: 'main',
        tags: ['mysql', 'relational', 'mine'],
        instance_guid: service.guid,
        instance_name: service.name,
        binding_guid: binding.guid,
        binding_name: 'main',
        credentials: { uri: `mysql://u:secret-${binding.guid}@db:3306/d` },
        syslog_drain_url: null,
        volume_mounts: [],
      },
    ])
    expect((await post(place.developer, service.guid, { app })).text).toContain(
      'The app is already bound to the service instance',
    )
    const deleted = await place.developer.delete(`${PATH}/${binding.guid}`)
    expect(await place.developer.job(deleted)).toMatchObject({ state: 'COMPLETE', operation: 'service_bindings.delete' })
    expect(await list(`app_guids=${app}`)).toEqual([])
    expect(await eventsOf(binding.guid)).toEqual(['audit.service_binding.create', 'audit.service_binding.delete'])
  })

  it('are refused to apps where the offering gives volumes, which nobody would mount; keys are made', async () => {
    const service = await anInstance({ requires: ['volume_mount'] })
    const refused = await post(place.developer, service.guid, { app: await anApp() })
    expect([refused.status, refused.body.errors[0]]).toEqual([
      422,
      {
        code: 10008,
        title: 'CF-UnprocessableEntity',
        detail: expect.stringMatching(/^Support for volume mount services is disabled: this platform mounts no volumes/),
      },
    ])
    expect(broker.of('PUT', service.guid)).toEqual([])
    expect(await place.developer.job(await post(place.developer, service.guid, { name: 'k' }))).toMatchObject({
      state: 'COMPLETE',
    })
  })

  it('are polled where the broker takes its time, and fetched', async () => {
    const [app, service] = [await anApp(), await anInstance()]
    let isReady = false
    broker.answer = (call) =>
      call.method === 'PUT'
        ? { status: 202, body: { operation: 'op-1' } }
        : call.path.endsWith('/last_operation')
          ? { status: 200, body: isReady ? { state: 'succeeded' } : { state: 'in progress', description: 'half' } }
          : undefined
    const answer = await post(place.developer, service.guid, { app })
    await eventually(async () => (await list(`app_guids=${app}`))[0]?.last_operation.description === 'half')
    const [binding] = await list(`app_guids=${app}`)
    expect((await place.developer.get(`${PATH}/${binding.guid}/details`)).status).toBe(404)
    expect((await place.developer.get(`/v3/apps/${app}/env`)).body.system_env_json.VCAP_SERVICES).toEqual({})
    expect((await post(place.developer, service.guid, { app })).body.errors[0].detail).toBe(
      `There is already a binding in progress for this service instance and app (binding guid: ${binding.guid})`,
    )
    isReady = true
    expect(await place.developer.job(answer)).toMatchObject({ state: 'COMPLETE' })
    expect((await place.developer.get(`${PATH}/${binding.guid}/details`)).body.credentials).toEqual({ fetched: binding.guid })
    expect(broker.of('GET', 'last_operation')[0]?.query.get('operation')).toBe('op-1')
    expect(await eventsOf(binding.guid)).toEqual(['audit.service_binding.start_create', 'audit.service_binding.create'])
  })

  it.each<[string, Parameters<typeof aManagedInstance>[3], ReturnType<BindingBroker['answer']>, RegExp, boolean]>([
    ['a refusal', {}, { status: 400, body: { description: 'no room' } }, /no room/, false],
    ['a failure', {}, { status: 500, body: { description: 'broken' } }, /broken/, true],
    ['an answer without sense', {}, { status: 201, body: { credentials: 'a string' } }, /invalid|malformed|response/i, true],
    ['202 without a way to fetch', { retrievable: false }, { status: 202 }, /does not support fetching binding data/, true],
    [
      'a drain of an offering that gives none',
      {},
      { status: 201, body: { credentials: {}, syslog_drain_url: 'syslog://d:1' } },
      /not registered as a logging service/,
      true,
    ],
    ['a demand for an app', {}, { status: 422, body: { error: 'RequiresApp' } }, /binding an application only/, false],
  ])('are not made after %s', async (_what, options, reply, reason, mitigated) => {
    const service = await anInstance(options)
    const app = await anApp()
    broker.answer = (call) => (call.method === 'PUT' ? reply : undefined)
    const job = await place.developer.job(await post(place.developer, service.guid, { app }))
    expect(job.state).toBe('FAILED')
    expect(job.errors[0].detail).toMatch(reason)
    const [binding] = await list(`app_guids=${app}`)
    expect(binding.last_operation).toMatchObject({ type: 'create', state: 'failed' })
    expect((await place.developer.get(`/v3/apps/${app}/env`)).body.system_env_json.VCAP_SERVICES).toEqual({})
    expect(await api.context.db.orphanMitigation.count({ where: { bindingGuid: binding.guid } })).toBe(mitigated ? 1 : 0)
    // The next one takes the failed one's place.
    broker.answer = () => undefined
    expect(await place.developer.job(await post(place.developer, service.guid, { app }))).toMatchObject({ state: 'COMPLETE' })
    expect(await list(`app_guids=${app}`)).toHaveLength(1)
  })

  it('can be several for one instance; the newest counts', async () => {
    const [app, service] = [await anApp(), await anInstance()]
    for (let i = 0; i < 2; i++)
      await place.developer.job(await post(place.developer, service.guid, { app, strategy: 'multiple' }))
    const bindings = await list(`app_guids=${app}&order_by=created_at`)
    expect(bindings).toHaveLength(2)
    const env = await place.developer.get(`/v3/apps/${app}/env`)
    expect(env.body.system_env_json.VCAP_SERVICES.mysql).toMatchObject([{ binding_guid: bindings[1].guid }])
  })

  it('stay where the broker does not let go, and say why', async () => {
    const [app, service] = [await anApp(), await anInstance()]
    await place.developer.job(await post(place.developer, service.guid, { app }))
    const [binding] = await list(`app_guids=${app}`)
    broker.answer = (call) => (call.method === 'DELETE' ? { status: 500, body: { description: 'still busy' } } : undefined)
    const job = await place.developer.job(await place.developer.delete(`${PATH}/${binding.guid}`))
    const { name } = (await place.developer.get(`/v3/service_instances/${service.guid}`)).body
    const description = `Service broker failed to delete service binding for instance ${name}: Service broker error: still busy`
    expect(job).toMatchObject({ state: 'FAILED', errors: [{ detail: `unbind could not be completed: ${description}` }] })
    expect((await list(`app_guids=${app}`))[0].last_operation).toMatchObject({ type: 'delete', state: 'failed', description })
    expect((await post(place.developer, service.guid, { app })).body.errors[0].detail).toBe(
      'A binding for this service instance and app is getting deleted or its deletion failed',
    )
    expect((await place.developer.get(`/v3/apps/${app}/env`)).body.system_env_json.VCAP_SERVICES.mysql).toHaveLength(1)
    const whole = await place.developer.job(await place.developer.delete(`/v3/apps/${app}`))
    expect(whole.errors[0].detail).toMatch(/could not be unbound: .*still busy/)
    broker.answer = (call) => (call.method === 'DELETE' ? { status: 410 } : undefined)
    expect(await place.developer.job(await place.developer.delete(`/v3/apps/${app}`))).toMatchObject({ state: 'COMPLETE' })
    expect(broker.calls.filter(isBinding).at(-1)).toMatchObject({ method: 'DELETE' })
  })

  it('go with their app, also where that takes the broker a while', async () => {
    const [app, service] = [await anApp(), await anInstance()]
    await place.developer.job(await post(place.developer, service.guid, { app }))
    let polls = 0
    broker.answer = (call) =>
      call.method === 'DELETE'
        ? { status: 202 }
        : call.path.endsWith('/last_operation')
          ? polls++ < 2
            ? { status: 200, body: { state: 'in progress' } }
            : { status: 410 }
          : undefined
    expect(await place.developer.job(await place.developer.delete(`/v3/apps/${app}`))).toMatchObject({ state: 'COMPLETE' })
    expect(await api.context.db.credentialBinding.count({ where: { serviceInstanceGuid: service.guid } })).toBe(0)
  })

  it('are refused where they cannot be', async () => {
    const app = await anApp()
    const unbindable = await anInstance({ bindable: false })
    expect((await post(place.developer, unbindable.guid, { app })).text).toContain('Service plan does not allow bindings')
    const elsewhere = await anOrganization(api)
    const foreign = await aManagedInstance(api, elsewhere.space.guid, url)
    expect((await post(place.developer, foreign.guid, { app })).text).toContain('could not be found')
    const service = await anInstance()
    expect((await post(place.auditor, service.guid, { app })).status).toBe(403)
    expect((await post(place.stranger, service.guid, { app })).status).toBe(422)
    const at = new Date().toISOString()
    await api.context.db.serviceInstance.update({
      where: { guid: service.guid },
      data: { lastOperation: { type: 'create', state: 'failed', description: '', created_at: at, updated_at: at } },
    })
    const failed = await post(place.developer, service.guid, { app })
    expect([failed.status, failed.text]).toEqual([422, expect.stringContaining('was not created')])
  })

  it('of a key that its broker does not let go of, or of an instance that is worked on, wait for that', async () => {
    const [app, service] = [await anApp(), await anInstance()]
    await place.developer.job(await post(place.developer, service.guid, { name: 'k' }))
    const [key] = await list(`service_instance_guids=${service.guid}`)
    broker.answer = (call) => (call.method === 'DELETE' ? { status: 500, body: { description: 'still busy' } } : undefined)
    expect((await place.developer.job(await place.developer.delete(`${PATH}/${key.guid}`))).state).toBe('FAILED')
    expect((await post(place.developer, service.guid, { name: 'k' })).body.errors[0].detail).toBe(
      "The binding name is invalid. Key binding names must be unique. The service instance already has a key binding with the name 'k' that is getting deleted or its deletion failed.",
    )
    await api.context.db.credentialBinding.update({
      where: { guid: key.guid },
      data: { lastOperation: { ...key.last_operation, type: 'delete', state: 'in progress' } },
    })
    expect((await place.developer.patch(`${PATH}/${key.guid}`, { metadata: {} })).body.errors[0].detail).toBe(
      'The service binding is being deleted',
    )
    await api.context.db.serviceOperation.create({
      data: {
        guid: randomUUID(),
        resourceType: 'instance',
        resourceGuid: service.guid,
        serviceInstanceGuid: service.guid,
        type: 'update',
        nextRunAt: new Date('2100-01-01'),
      },
    })
    for (const answer of [
      await post(place.developer, service.guid, { app }),
      await place.developer.delete(`${PATH}/${key.guid}`),
    ])
      expect([answer.status, answer.body.errors[0].detail]).toEqual([
        422,
        'There is an operation in progress for the service instance.',
      ])
  })

  it('cross spaces only where the instance is shared', async () => {
    const elsewhere = await anOrganization(api)
    const shared = await aManagedInstance(api, elsewhere.space.guid, url)
    await api.context.db.serviceInstanceSharing.create({
      data: { serviceInstanceGuid: shared.guid, spaceGuid: place.space.guid },
    })
    const app = await anApp()
    expect(await place.developer.job(await post(place.developer, shared.guid, { app }))).toMatchObject({ state: 'COMPLETE' })
    const [call] = broker.of('PUT', shared.guid)
    expect(call?.body).toMatchObject({
      bind_resource: { space_guid: place.space.guid },
      context: { space_guid: elsewhere.space.guid },
    })
    expect((await post(place.developer, shared.guid, { name: 'k' })).status).toBe(404)
    const [binding] = await list(`app_guids=${app}`)
    expect((await elsewhere.developer.get(`${PATH}/${binding.guid}`)).status).toBe(404)
    expect((await elsewhere.developer.get(`${PATH}?service_instance_guids=${shared.guid}`)).body.resources).toEqual([])
  })

  it('are made by a manifest, which waits for them', async () => {
    const service = await anInstance()
    let polls = 0
    broker.answer = (call) =>
      call.method === 'PUT'
        ? { status: 202 }
        : call.path.endsWith('/last_operation')
          ? { status: 200, body: { state: polls++ < 2 ? 'in progress' : 'succeeded' } }
          : undefined
    const name = `app-${randomUUID().slice(0, 8)}`
    const apply = (manifest: string) =>
      place.developer.post(`/v3/spaces/${place.space.guid}/actions/apply_manifest`, manifest, {
        'content-type': 'application/x-yaml',
      })
    const manifest = `applications:\n- name: ${name}\n  services:\n  - name: ${service.name}\n    binding_name: main\n    parameters: {role: reader}\n`
    expect(await place.developer.job(await apply(manifest))).toMatchObject({ state: 'COMPLETE' })
    const [binding] = await list(`service_instance_guids=${service.guid}`)
    expect(binding).toMatchObject({ name: 'main', last_operation: { state: 'succeeded' } })
    expect(broker.of('PUT', binding.guid)[0]?.body.parameters).toEqual({ role: 'reader' })
    expect(await place.developer.job(await apply(manifest))).toMatchObject({ state: 'COMPLETE' })
    expect(broker.of('PUT', '/service_bindings/')).toHaveLength(1)

    const other = await anInstance()
    broker.answer = (call) => (call.method === 'PUT' ? { status: 400, body: { description: 'no room' } } : undefined)
    const failed = await place.developer.job(await apply(`applications:\n- name: ${name}\n  services: [${other.name}]\n`))
    expect(failed.errors[0].detail).toMatch(new RegExp(`For application '${name}': For service '${other.name}': .*no room`))
  })
})

describe('service keys', () => {
  it('are credentials without an app', async () => {
    const service = await anInstance()
    const answer = await post(place.developer, service.guid, { name: 'k1' })
    expect(await place.developer.job(answer)).toMatchObject({ state: 'COMPLETE' })
    const [key] = await list(`type=key&service_instance_guids=${service.guid}`)
    expect(broker.of('PUT', key.guid)[0]?.body).toMatchObject({ bind_resource: {} })
    expect(broker.of('PUT', key.guid)[0]?.body.app_guid).toBeUndefined()
    expect((await place.developer.get(`${PATH}/${key.guid}/details`)).body.credentials.uri).toContain(key.guid)
    expect((await place.auditor.get(`${PATH}/${key.guid}/details`)).status).toBe(403)
    expect((await post(place.developer, service.guid, { name: 'k1' })).text).toContain('Key binding names must be unique')
    expect((await post(place.developer, service.guid, {})).text).toContain("Name can't be blank")
    expect(await place.developer.job(await place.developer.delete(`${PATH}/${key.guid}`))).toMatchObject({ state: 'COMPLETE' })
    expect(await eventsOf(key.guid)).toEqual(['audit.service_key.create', 'audit.service_key.delete'])
  })

  it('are counted', async () => {
    const service = await anInstance()
    const { db } = api.context
    const organization = await db.organization.findUniqueOrThrow({ where: { guid: place.organization.guid } })
    const used = await db.credentialBinding.count({
      where: { type: 'key', serviceInstance: { space: { organizationGuid: organization.guid } } },
    })
    await db.organizationQuota.update({ where: { guid: organization.quotaGuid }, data: { totalServiceKeys: used + 1 } })
    expect((await post(place.developer, service.guid, { name: 'a' })).status).toBe(202)
    expect((await post(place.developer, service.guid, { name: 'b' })).text).toContain("exceeded your organization's limit")
    await db.organizationQuota.update({ where: { guid: organization.quotaGuid }, data: { totalServiceKeys: null } })
  })
})

describe('bindings as files', () => {
  it('are frozen with what an app runs, encrypted, and refused where they cannot be files', async () => {
    const app = await anApp()
    const service = await anInstance()
    await place.developer.job(await post(place.developer, service.guid, { app, name: 'main' }))
    await place.developer.patch(`/v3/apps/${app}/features/service-binding-k8s`, { enabled: true })
    expect((await place.developer.get(`/v3/apps/${app}/env`)).body.system_env_json).toEqual({
      SERVICE_BINDING_ROOT: '/etc/cf-service-bindings',
    })
    const { db, keyring } = api.context
    const droplet = await db.droplet.create({
      data: { guid: randomUUID(), appGuid: app, state: 'STAGED', processTypes: { web: 'run' }, stack: 'cflinuxfs4' },
    })
    await place.developer.patch(`/v3/apps/${app}/relationships/current_droplet`, { data: { guid: droplet.guid } })
    expect((await place.developer.post(`/v3/apps/${app}/actions/start`)).status).toBe(200)
    const spec = await db.runSpec.findFirstOrThrow({ where: { appGuid: app }, orderBy: { version: 'desc' } })
    const files = JSON.parse(keyring.decrypt(spec.filesEncrypted, `spec-files:${spec.guid}`)) as Record<string, string>
    expect(files).toMatchObject({ 'main/type': 'mysql', 'main/uri': expect.stringContaining('mysql://u:secret-') })
    expect(keyring.decrypt(spec.environmentEncrypted, `spec:${spec.guid}`)).not.toContain('VCAP_SERVICES')

    broker.answer = (call) => (call.method === 'PUT' ? { status: 201, body: { credentials: { 'No File': 'x' } } } : undefined)
    const other = await anInstance()
    await place.developer.job(await post(place.developer, other.guid, { app, name: 'other' }))
    const refused = await place.developer.post(`/v3/apps/${app}/actions/restart`)
    expect(refused).toMatchObject({ status: 422 })
    expect(refused.text).toContain('Cannot build service binding files for app - Invalid file name: No File')
  })
})

describe('credentials', () => {
  it('stand in no event, job, error or log line', async () => {
    const canary = `canary-${randomUUID()}`
    const lines: string[] = []
    const [app, service] = [await anApp(), await anInstance()]
    broker.answer = (call) =>
      call.method === 'PUT'
        ? { status: 201, body: { credentials: { password: canary, uri: `mysql://u:${canary}@h/d` } } }
        : undefined
    const job = await place.developer.job(await post(place.developer, service.guid, { app, parameters: { token: canary } }))
    await place.developer.job(await post(place.developer, service.guid, { name: 'canary', parameters: { token: canary } }))
    broker.answer = (call) =>
      call.method === 'PUT' ? { status: 500, body: { description: 'failed', credentials: { password: canary } } } : undefined
    const failed = await place.developer.job(
      await post(place.developer, service.guid, { name: 'other', parameters: { token: canary } }),
    )
    const { db } = api.context
    lines.push(JSON.stringify([job, failed, await list(`service_instance_guids=${service.guid}`)]))
    for (const rows of [
      await db.auditEvent.findMany(),
      await db.job.findMany(),
      await db.credentialBinding.findMany(),
      await db.serviceOperation.findMany(),
      await db.orphanMitigation.findMany(),
      await db.decisionRecord.findMany(),
    ])
      lines.push(JSON.stringify(rows, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value)))
    lines.push(JSON.stringify(api.logs.sent))
    expect(lines.join('\n')).not.toContain(canary)
    expect((await place.developer.get(`/v3/apps/${app}/env`)).text).toContain(canary)
  })
})
