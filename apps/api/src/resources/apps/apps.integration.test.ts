import { randomUUID } from 'node:crypto'
import { eventually } from '@bloomery/testing'
import { anOrganization, startTestApi, type Caller, type Json, type TestApi } from '../../testing.fixture.js'
import { StringMap } from '../../runs/environment-sources.js'
import { createApp, pushApp } from '../push.fixture.js'

describe('apps', () => {
  let api: TestApi
  beforeAll(async () => {
    api = await startTestApi()
  })
  afterAll(() => api.close())

  const detailOf = (answer: { body: Json }): string => answer.body.errors[0].detail
  const create = (caller: Caller, spaceGuid: string, more: object = {}) =>
    caller.post('/v3/apps', { name: 'shop', relationships: { space: { data: { guid: spaceGuid } } }, ...more })
  const eventsOf = async (guid: string) =>
    (await api.context.db.auditEvent.findMany({ where: { targetGuid: guid }, orderBy: { sequence: 'asc' } })).map(
      ({ type }) => type,
    )
  const specOf = async (processGuid: string) => {
    const { currentSpecGuid } = await api.context.db.process.findUniqueOrThrow({ where: { guid: processGuid } })
    const row = await api.context.db.runSpec.findUniqueOrThrow({ where: { guid: currentSpecGuid ?? '' } })
    const environment = api.context.keyring.decryptJson(row.environmentEncrypted, `spec:${row.guid}`, StringMap)
    return { version: row.version, spec: row.spec as Json, environment }
  }

  it('are created with a web process of the same guid, seen by their own only', async () => {
    const { developer, auditor, stranger, space, withRole } = await anOrganization(api)
    const created = await create(developer, space.guid, { environment_variables: { A: 'b' }, metadata: { labels: { a: 'b' } } })
    expect(created.status).toBe(201)
    const { guid } = created.body
    expect((await developer.get(`/v3/apps/${guid}/processes/web`)).body).toMatchObject({ guid, instances: 1, memory_in_mb: 1024 })
    expect((await auditor.get(`/v3/apps/${guid}`)).body).toMatchObject({ name: 'shop', metadata: { labels: { a: 'b' } } })
    expect([(await stranger.get(`/v3/apps/${guid}`)).status, detailOf(await stranger.get(`/v3/apps/${guid}`))]).toEqual([
      404,
      'App not found',
    ])
    expect((await auditor.get(`/v3/apps/${guid}/env`)).status).toBe(403)
    expect((await create(auditor, space.guid, { name: 'other' })).status).toBe(403)
    expect(detailOf(await create(stranger, space.guid))).toBe(
      'Invalid space. Ensure that the space exists and you have access to it.',
    )
    expect(detailOf(await create(developer, space.guid))).toBe("App with the name 'shop' already exists.")
    expect((await developer.get(`/v3/apps/${guid}/droplets/current`)).body.errors[0].detail).toBe('Droplet not found')
    const supporter = await withRole('space_supporter')
    expect((await supporter.patch(`/v3/apps/${guid}`, { name: 'x' })).status).toBe(403)
    expect(await eventsOf(guid)).toEqual(['audit.app.create', 'audit.app.process.create'])
  })

  it.each<[string, object, RegExp]>([
    ['a name that is blank', { name: ' ' }, /blank/],
    ['an unknown field', { nonsense: 1 }, /Unknown field\(s\): 'nonsense'/],
    [
      'an unknown buildpack',
      { lifecycle: { type: 'buildpack', data: { buildpacks: ['x'] } } },
      /Buildpack "x" must be an existing admin buildpack or a valid git URI/,
    ],
    [
      'Cloud Native Buildpacks',
      { lifecycle: { type: 'cnb', data: { buildpacks: ['docker://paketo/nodejs'] } } },
      /lifecycle type 'cnb' is not available on this platform; use 'buildpack'/,
    ],
    ['a lifecycle that nobody knows', { lifecycle: { type: 'kpack', data: {} } }, /must be one of: 'buildpack', 'docker', 'cnb'/],
    ['the docker lifecycle', { lifecycle: { type: 'docker', data: {} } }, /Docker images cannot be run/],
    [
      'variables that are not its own',
      { environment_variables: { VCAP_X: '1' } },
      /Environment variables cannot start with VCAP_/,
    ],
    ['a label that is none', { metadata: { labels: { '/': 'x' } } }, /label key error/],
  ])('refuses %s', async (_what, more, reason) => {
    const { developer, space } = await anOrganization(api)
    const answer = await create(developer, space.guid, more)
    expect([answer.status, detailOf(answer)]).toEqual([422, expect.stringMatching(reason)])
    expect(await api.context.db.app.count({ where: { spaceGuid: space.guid } })).toBe(0)
  })

  it('are listed by name, space and label, with what belongs to them, in few queries', async () => {
    const { developer, space, organization, stranger } = await anOrganization(api)
    for (const name of ['b', 'a', 'c,d']) await createApp(developer, space.guid, name)
    const names = async (query: string, caller = developer) =>
      (await caller.get(`/v3/apps?space_guids=${space.guid}${query}`)).body.resources.map(({ name }: { name: string }) => name)
    expect(await names('&order_by=name')).toEqual(['a', 'b', 'c,d'])
    expect(await names('&order_by=-created_at')).toEqual(['c,d', 'a', 'b'])
    expect(await names('&names=c%252Cd,a&order_by=name')).toEqual(['a', 'c,d'])
    expect(await names('', stranger)).toEqual([])
    const page = (await developer.get(`/v3/apps?space_guids=${space.guid}&order_by=name&per_page=2&include=space.organization`))
      .body
    expect(page.pagination).toMatchObject({ total_results: 3, total_pages: 2 })
    expect(page.pagination.next.href).toContain('include=space.organization')
    expect(page.included).toMatchObject({ spaces: [{ guid: space.guid }], organizations: [{ guid: organization.guid }] })
    expect(
      (await developer.get(new URL(page.pagination.next.href).pathname + new URL(page.pagination.next.href).search)).body
        .resources,
    ).toHaveLength(1)
    expect(await api.countQueries(() => developer.get(`/v3/apps?space_guids=${space.guid}&per_page=5000`))).toBeLessThan(6)
  })

  it('are renamed, but not to a name that is taken', async () => {
    const { developer, space } = await anOrganization(api)
    const { guid } = await createApp(developer, space.guid, 'one')
    await createApp(developer, space.guid, 'two')
    expect((await developer.patch(`/v3/apps/${guid}`, { name: 'three' })).body.name).toBe('three')
    expect(detailOf(await developer.patch(`/v3/apps/${guid}`, { name: 'two' }))).toBe("App with the name 'two' already exists.")
    expect(await eventsOf(guid)).toContain('audit.app.update')
  })

  it('start, stop and restart; each start freezes what runs', async () => {
    const { developer, space, withRole } = await anOrganization(api)
    const supporter = await withRole('space_supporter')
    const { guid } = await pushApp(api, developer, space.guid)
    const act = async (action: string, caller = developer) => (await caller.post(`/v3/apps/${guid}/actions/${action}`)).body.state
    const first = await specOf(guid)
    expect(first.spec).toMatchObject({ command: 'node server.js', memoryMb: 1024, processType: 'web' })
    await developer.patch(`/v3/apps/${guid}/environment_variables`, { var: { COLOUR: 'blue' } })
    expect(await act('start')).toBe('STARTED')
    expect((await specOf(guid)).version).toBe(first.version)
    expect(await act('restart', supporter)).toBe('STARTED')
    const second = await specOf(guid)
    expect(second.version).toBe(first.version + 1)
    expect([first.environment['COLOUR'], second.environment['COLOUR']]).toEqual([undefined, 'blue'])
    expect(JSON.parse(second.environment['VCAP_APPLICATION'] ?? '')).toMatchObject({ application_id: guid, space_name: 'dev' })
    expect(await act('stop')).toBe('STOPPED')
    expect(await act('stop')).toBe('STOPPED')
    expect(await act('start')).toBe('STARTED')
    expect((await eventsOf(guid)).filter((type) => /start|stop/.test(type))).toEqual([
      'audit.app.start',
      'audit.app.restart',
      'audit.app.stop',
      'audit.app.start',
    ])
    await eventually(() => api.logs.sent.some(({ sourceId, kind }) => sourceId === guid && kind === 'log'))
  })

  it('cannot start beyond the quota, and say which', async () => {
    const { developer, space, organization, admin } = await anOrganization(api)
    const { guid } = await pushApp(api, developer, space.guid, { start: false })
    const quota = await api.context.db.organizationQuota.create({
      data: { guid: randomUUID(), name: randomUUID(), totalMemoryMb: 1500, totalInstances: 3 },
    })
    await api.context.db.organization.update({ where: { guid: organization.guid }, data: { quotaGuid: quota.guid } })
    expect((await developer.post(`/v3/apps/${guid}/actions/start`)).status).toBe(200)
    const scaled = await developer.post(`/v3/apps/${guid}/processes/web/actions/scale`, { instances: 2 })
    expect([scaled.status, detailOf(scaled)]).toEqual([422, expect.stringMatching(/memory.*quota/i)])
    await developer.post(`/v3/apps/${guid}/processes/web/actions/scale`, { memory_in_mb: 64 })
    expect(detailOf(await developer.post(`/v3/apps/${guid}/processes/web/actions/scale`, { instances: 4 }))).toMatch(
      /instance.*quota/i,
    )
    expect((await admin.post(`/v3/apps/${guid}/processes/web/actions/scale`, { instances: '3' })).body.instances).toBe(3)
    const second = await pushApp(api, developer, space.guid, { start: false })
    expect(detailOf(await developer.post(`/v3/apps/${second.guid}/actions/start`))).toMatch(/quota/)
    expect((await developer.get(`/v3/apps/${second.guid}`)).body.state).toBe('STOPPED')
  })

  it('keep their variables: merged, deleted by null, hidden from logs and events', async () => {
    const { developer, space } = await anOrganization(api)
    const { guid } = await createApp(developer, space.guid)
    const patch = (change: object) => developer.patch(`/v3/apps/${guid}/environment_variables`, { var: change })
    expect((await patch({ A: '1', B: 'secret-value' })).body.var).toEqual({ A: '1', B: 'secret-value' })
    expect((await patch({ A: null, C: '' })).body.var).toEqual({ B: 'secret-value', C: '' })
    const env = (await developer.get(`/v3/apps/${guid}/env`)).body
    expect(Object.keys(env).sort()).toEqual([
      'application_env_json',
      'environment_variables',
      'running_env_json',
      'staging_env_json',
      'system_env_json',
    ])
    expect(env.environment_variables).toEqual({ B: 'secret-value', C: '' })
    expect(detailOf(await patch({ PORT: '1' }))).toBe('Environment variables cannot set PORT')
    expect(detailOf(await patch({ N: 1 }))).toContain("Non-string value in environment variable for key 'N'")
    expect((await developer.patch(`/v3/apps/${guid}/environment_variables`, { var: 1 })).status).toBe(422)
    const row = await api.context.db.app.findUniqueOrThrow({ where: { guid } })
    expect(JSON.stringify(row)).not.toContain('secret-value')
    const events = await api.context.db.auditEvent.findMany({ where: { targetGuid: guid } })
    expect(JSON.stringify(events, (_key, value: unknown) => (typeof value === 'bigint' ? Number(value) : value))).not.toContain(
      'secret-value',
    )
    expect(JSON.stringify(api.logs.sent)).not.toContain('secret-value')
  })

  it('have features', async () => {
    const { developer, space, auditor } = await anOrganization(api)
    const { guid } = await createApp(developer, space.guid)
    const at = `/v3/apps/${guid}/features`
    expect((await developer.get(`${at}/ssh`)).body).toMatchObject({ name: 'ssh', enabled: true })
    expect((await developer.patch(`${at}/ssh`, { enabled: false })).body.enabled).toBe(false)
    expect((await auditor.patch(`${at}/ssh`, { enabled: true })).status).toBe(403)
    expect((await developer.get(`/v3/apps/${guid}/ssh_enabled`)).body).toEqual({ enabled: false, reason: 'Disabled for app' })
    expect((await developer.get(`${at}/nonsense`)).status).toBe(404)
    expect((await developer.get(at)).body.resources.map(({ name }: { name: string }) => name)).toEqual([
      'ssh',
      'revisions',
      'service-binding-k8s',
      'file-based-vcap-services',
    ])
    expect((await developer.patch(`${at}/service-binding-k8s`, { enabled: true })).body).toMatchObject({ enabled: true })
    const both = await developer.patch(`${at}/file-based-vcap-services`, { enabled: true })
    expect(both).toMatchObject({ status: 422 })
    expect(both.text).toContain(
      "'file-based-vcap-services' and 'service-binding-k8s' features cannot be enabled at the same time.",
    )
  })

  it('answer for what is not kept here', async () => {
    const { developer, space, stranger } = await anOrganization(api)
    const { guid } = await createApp(developer, space.guid)
    for (const list of ['revisions', 'revisions/deployed', 'tasks', 'sidecars'])
      expect([list, (await developer.get(`/v3/apps/${guid}/${list}`)).body.resources]).toEqual([list, []])
    expect((await stranger.get(`/v3/apps/${guid}/tasks`)).status).toBe(404)
    expect((await developer.post(`/v3/apps/${guid}/tasks`, { command: 'x' })).status).toBe(422)
  })

  it('are deleted with all that is theirs', async () => {
    const { developer, space, auditor } = await anOrganization(api)
    const { guid, packageGuid } = await pushApp(api, developer, space.guid)
    api.blobs.blobs.set(`caches/${guid}/cflinuxfs4.tgz`, { bytes: Buffer.from('x'), modifiedAt: new Date() })
    expect((await developer.post(`/v3/apps/${guid}/actions/clear_buildpack_cache`)).status).toBe(202)
    expect(api.blobs.blobs.has(`caches/${guid}/cflinuxfs4.tgz`)).toBe(false)
    expect((await auditor.delete(`/v3/apps/${guid}`)).status).toBe(403)
    const answer = await developer.delete(`/v3/apps/${guid}`)
    expect(answer.status).toBe(202)
    expect((await developer.job(answer)).state).toBe('COMPLETE')
    expect((await developer.get(`/v3/apps/${guid}`)).status).toBe(404)
    expect(api.blobs.blobs.has(`packages/${packageGuid}`)).toBe(false)
    expect(api.logs.forgotten).toContain(guid)
    expect(await api.context.db.runSpec.count({ where: { appGuid: guid } })).toBe(0)
    expect(await eventsOf(guid)).toContain('audit.app.delete-request')
    // A second worker that takes the same job up finds nothing left to do.
    await api.context.jobs.perform(
      'app.delete',
      { guid },
      {
        guid: 'again',
        attempt: 2,
        actor: { guid: developer.guid, name: developer.name, kind: 'user', isAdmin: false },
        warn: () => undefined,
      },
    )
  })

  it('two starts at once make one desired state', async () => {
    const { developer, space } = await anOrganization(api)
    const { guid } = await pushApp(api, developer, space.guid, { start: false })
    const answers = await Promise.all([1, 2, 3].map(() => developer.post(`/v3/apps/${guid}/actions/start`)))
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200])
    expect(await api.context.db.runSpec.count({ where: { processGuid: guid } })).toBe(1)
  })
})
