import { anOrganization, startTestApi, type TestApi } from '../testing.fixture.js'
import { createApp, createPackage, finishBuild, runInstances, sha1, uploadBits } from './push.fixture.js'

describe('the way of a push through the API', () => {
  let api: TestApi
  beforeAll(async () => {
    api = await startTestApi()
  })
  afterAll(() => api.close())

  it('leads from source to running instances', async () => {
    const { developer, space, stranger } = await anOrganization(api)
    const app = await createApp(developer, space.guid, 'shop')
    expect(app).toMatchObject({ name: 'shop', state: 'STOPPED', lifecycle: { type: 'buildpack', data: { stack: 'cflinuxfs4' } } })

    const content = 'console.log("hello")'
    const resource = { path: 'server.js', mode: '644', checksum: { value: sha1(content) }, size_in_bytes: content.length }
    const before = await developer.post('/v3/resource_matches', { resources: [resource] })
    expect([before.status, before.body]).toEqual([201, { resources: [] }])
    const packageGuid = await createPackage(developer, app.guid)
    const uploaded = await uploadBits(developer, packageGuid, { 'server.js': content, 'public/': '' })
    expect([uploaded.status, uploaded.body.state]).toEqual([200, 'READY'])

    const build = await developer.post('/v3/builds', { package: { guid: packageGuid } })
    expect([build.status, build.body.state]).toEqual([201, 'STAGING'])
    expect((await developer.get(`/v3/builds/${build.body.guid}`)).body.state).toBe('STAGING')
    const dropletGuid = await finishBuild(api, build.body.guid, { web: 'node server.js', worker: 'node worker.js' })
    expect((await developer.get(`/v3/builds/${build.body.guid}`)).body).toMatchObject({
      state: 'STAGED',
      droplet: { guid: dropletGuid },
    })
    expect((await stranger.get(`/v3/builds/${build.body.guid}`)).status).toBe(404)
    expect((await developer.get(`/v3/apps/${app.guid}/droplets/current`)).body.errors[0].detail).toBe('Droplet not found')
    expect((await developer.post(`/v3/apps/${app.guid}/actions/start`)).body.errors[0].detail).toBe(
      'Assign a droplet before starting this app.',
    )

    const set = await developer.patch(`/v3/apps/${app.guid}/relationships/current_droplet`, { data: { guid: dropletGuid } })
    expect([set.status, set.body.data]).toEqual([200, { guid: dropletGuid }])
    const started = await developer.post(`/v3/apps/${app.guid}/actions/start`)
    expect([started.status, started.body.state]).toEqual([200, 'STARTED'])

    const processes = (await developer.get(`/v3/apps/${app.guid}/processes`)).body.resources
    expect(processes.map((each: { type: string; instances: number }) => [each.type, each.instances])).toEqual([
      ['web', 1],
      ['worker', 0],
    ])
    expect(processes[0].guid).toBe(app.guid)
    expect((await developer.get(`/v3/processes/${processes[1].guid}/stats`)).body.resources).toEqual([])
    expect((await developer.get(`/v3/processes/${app.guid}/stats`)).body.resources[0]).toMatchObject({ state: 'STARTING' })
    const waiting = developer.get(`/v3/processes/${app.guid}/stats`)
    await runInstances(api, app.guid, 1)
    expect((await waiting).body.resources).toMatchObject([{ index: 0, state: 'RUNNING', routable: true, host: '127.0.0.1' }])

    // A second push need not send what is known, in its own organization only.
    const pool = async () => (await developer.post('/v3/resource_matches', { resources: [resource] })).body.resources
    for (const deadline = Date.now() + 10_000; (await pool()).length === 0 && Date.now() < deadline;);
    expect(await pool()).toEqual([resource])
    const other = await anOrganization(api)
    expect((await other.developer.post('/v3/resource_matches', { resources: [resource] })).body.resources).toEqual([])
    const second = await createPackage(developer, app.guid)
    const again = await uploadBits(developer, second, { 'other.js': '1' }, [resource])
    expect([again.status, again.body.state]).toEqual([200, 'READY'])
  })
})
