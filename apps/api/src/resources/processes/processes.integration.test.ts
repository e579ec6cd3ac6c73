import { anOrganization, startTestApi, type Json, type TestApi } from '../../testing.fixture.js'
import { pushApp, runInstances } from '../push.fixture.js'

describe('processes', () => {
  let api: TestApi
  beforeAll(async () => {
    api = await startTestApi()
  })
  afterAll(() => api.close())

  const prepare = async (start = true) => {
    const place = await anOrganization(api)
    const app = await pushApp(api, place.developer, place.space.guid, {
      start,
      processTypes: { web: 'node server.js', 'a worker': 'node w.js' },
    })
    return { ...place, app }
  }
  const detailOf = (answer: { body: Json }): string => answer.body.errors[0].detail

  it('show their command alone, and hide it in lists', async () => {
    const { developer, app, auditor, stranger } = await prepare()
    expect((await developer.get(`/v3/processes/${app.guid}`)).body.command).toBe('node server.js')
    expect((await developer.get(`/v3/processes?app_guids=${app.guid}&types=web`)).body.resources).toMatchObject([
      { guid: app.guid, command: '[PRIVATE DATA HIDDEN IN LISTS]' },
    ])
    // Twice escaped, as the client does.
    expect((await auditor.get(`/v3/apps/${app.guid}/processes/a%2520worker`)).body).toMatchObject({
      type: 'a worker',
      instances: 0,
    })
    expect(detailOf(await developer.get(`/v3/apps/${app.guid}/processes/none`))).toBe('Process not found')
    expect(detailOf(await stranger.get(`/v3/processes/${app.guid}`))).toBe('Process not found')
    expect((await developer.get(`/v3/processes/${app.guid}/sidecars`)).body.resources).toEqual([])
  })

  it.each<[object, object]>([
    [
      { health_check: { type: 'http', data: { endpoint: '/h', invocation_timeout: 5 } } },
      { health_check: { type: 'http', data: { endpoint: '/h', invocation_timeout: 5 } } },
    ],
    [{ health_check: { type: 'process', data: {} } }, { health_check: { type: 'process' } }],
    [{ health_check: { data: { timeout: '90' } } }, { health_check: { type: 'port', data: { timeout: 90 } } }],
    [
      { readiness_health_check: { type: 'http', data: { endpoint: '/r', interval: 3 } } },
      { readiness_health_check: { type: 'http', data: { endpoint: '/r', interval: 3 } } },
    ],
    [{ command: 'other' }, { command: 'other' }],
    [{ command: null }, { command: 'node server.js' }],
    [{ metadata: { annotations: { a: 'b' } } }, { metadata: { annotations: { a: 'b' } } }],
  ])('are changed by %j without a restart', async (change, expected) => {
    const { developer, app } = await prepare()
    const before = await api.context.db.process.findUniqueOrThrow({ where: { guid: app.guid } })
    const answer = await developer.patch(`/v3/processes/${app.guid}`, change)
    expect([answer.status, answer.body]).toMatchObject([200, expected])
    expect((await api.context.db.process.findUniqueOrThrow({ where: { guid: app.guid } })).currentSpecGuid).toBe(
      before.currentSpecGuid,
    )
  })

  it.each([
    [{ health_check: { type: 'smoke' } }, /must be "port", "process", or "http"/],
    [{ health_check: { type: 'http', data: { endpoint: 'no path' } } }, /must be a valid URI path/],
    [{ health_check: { data: { timeout: 0 } } }, /greater than or equal to 1/],
    [{ command: '' }, /between 1 and 4096/],
    [{ nonsense: 1 }, /Unknown field/],
  ])('refuse %j', async (change, reason) => {
    const { developer, app } = await prepare(false)
    const answer = await developer.patch(`/v3/processes/${app.guid}`, change)
    expect([answer.status, detailOf(answer)]).toEqual([422, expect.stringMatching(reason)])
  })

  it('scale: instances at once, all else with the next start', async () => {
    const { developer, app, withRole, auditor } = await prepare()
    const supporter = await withRole('space_supporter')
    const scale = (body: object, caller = developer) => caller.post(`/v3/apps/${app.guid}/processes/web/actions/scale`, body)
    const answer = await scale(
      { instances: 4, memory_in_mb: 128, disk_in_mb: 512, log_rate_limit_in_bytes_per_second: 1024 },
      supporter,
    )
    expect([answer.status, answer.body]).toMatchObject([
      202,
      { instances: 4, memory_in_mb: 128, disk_in_mb: 512, log_rate_limit_in_bytes_per_second: 1024 },
    ])
    const process = await api.context.db.process.findUniqueOrThrow({ where: { guid: app.guid } })
    const spec = await api.context.db.runSpec.findUniqueOrThrow({ where: { guid: process.currentSpecGuid ?? '' } })
    expect(spec.spec).toMatchObject({ memoryMb: 1024 })
    expect((await scale({ instances: 1 }, auditor)).status).toBe(403)
    expect(detailOf(await scale({ instances: -1 }))).toMatch(/greater than or equal to 0/)
    expect(detailOf(await scale({ disk_in_mb: 999_999 }))).toMatch(/too much disk requested/)
    expect((await scale({ memory_in_mb: 0 })).status).toBe(422)
    const [event] = await api.context.db.auditEvent.findMany({ where: { targetGuid: app.guid, type: 'audit.app.process.scale' } })
    expect(event?.data).toMatchObject({ process_type: 'web', request: { instances: 4, memory_in_mb: 128 } })
  })

  it('tell how their instances are', async () => {
    const { developer, app, space } = await prepare()
    await developer.post(`/v3/processes/${app.guid}/actions/scale`, { instances: 3 })
    await runInstances(api, app.guid, 2)
    api.logs.usage.set(app.guid, [
      {
        instanceGuid: '00000000-0000-0000-0000-0000',
        timestamp: '1700000000000000000',
        cpu: 0.5,
        cpuEntitlement: 0.25,
        memoryBytes: 1000.4,
        diskBytes: 7,
        logRateBytes: 3,
      } as never,
    ])
    const stats = (await developer.get(`/v3/processes/${app.guid}/stats`)).body.resources
    expect(stats.map(({ index, state }: Json) => [index, state])).toEqual([
      [0, 'RUNNING'],
      [1, 'RUNNING'],
      [2, 'STARTING'],
    ])
    expect(stats[0]).toMatchObject({
      type: 'web',
      host: '127.0.0.1',
      instance_ports: [{ internal: 8080, external: 61_001 }],
      mem_quota: 1024 ** 3,
      usage: { cpu: 0.5, cpu_entitlement: 0.25, mem: 1000, disk: 7, log_rate: 3 },
    })
    const embedded = (await developer.get(`/v3/processes?embed=process_instances&space_guids=${space.guid}&types=web`)).body
      .resources
    expect(embedded[0].process_instances.map(({ state }: Json) => state)).toEqual(['RUNNING', 'RUNNING', 'STARTING'])
    await developer.post(`/v3/apps/${app.guid}/actions/stop`)
    const stopped = (await developer.get(`/v3/processes/${app.guid}/stats`)).body.resources
    expect(stopped.map(({ state, usage }: Json) => [state, usage])).toEqual([
      ['DOWN', {}],
      ['DOWN', {}],
      ['DOWN', {}],
    ])
  })

  it('let a waiting client know as soon as something runs', async () => {
    const slow = await startTestApi({ longPollMs: 5_000 })
    try {
      const { developer, space } = await anOrganization(slow)
      const app = await pushApp(slow, developer, space.guid)
      const began = Date.now()
      const waiting = developer.get(`/v3/processes/${app.guid}/stats`)
      await runInstances(slow, app.guid, 1)
      expect((await waiting).body.resources).toMatchObject([{ state: 'RUNNING' }])
      expect(Date.now() - began).toBeLessThan(3_000)
    } finally {
      await slow.close()
    }
  })

  it('have one instance restarted, whose index stays', async () => {
    const { developer, app, auditor } = await prepare()
    await developer.post(`/v3/processes/${app.guid}/actions/scale`, { instances: 2 })
    await runInstances(api, app.guid, 2)
    const remove = (index: string, caller = developer) => caller.delete(`/v3/apps/${app.guid}/processes/web/instances/${index}`)
    expect((await remove('1', auditor)).status).toBe(403)
    expect((await remove('1')).status).toBe(204)
    expect(detailOf(await remove('9'))).toBe('Instance not found')
    expect(detailOf(await remove('x'))).toBe('Instance not found')
    const stats = (await developer.get(`/v3/processes/${app.guid}/stats`)).body.resources
    expect(stats.map(({ state }: Json) => state)).toEqual(['RUNNING', 'STOPPING'])
    expect(
      await api.context.db.auditEvent.count({ where: { targetGuid: app.guid, type: 'audit.app.process.terminate_instance' } }),
    ).toBe(1)
  })
})
