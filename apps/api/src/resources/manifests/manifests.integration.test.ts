import { randomUUID } from 'node:crypto'
import { parse } from 'yaml'
import { anOrganization, startTestApi, type Caller, type Json, type TestApi } from '../../testing.fixture.js'
import { createApp, pushApp } from '../push.fixture.js'

const YAML = { 'content-type': 'application/x-yaml' }

describe('manifests', () => {
  let api: TestApi
  beforeAll(async () => {
    api = await startTestApi()
  })
  afterAll(() => api.close())

  const apply = async (caller: Caller, spaceGuid: string, yaml: string) => {
    const answer = await caller.post(`/v3/spaces/${spaceGuid}/actions/apply_manifest`, yaml, YAML)
    expect([answer.status, answer.text]).toEqual([202, '{}'])
    return caller.job(answer)
  }
  const diff = async (caller: Caller, spaceGuid: string, yaml: string): Promise<Json> =>
    (await caller.post(`/v3/spaces/${spaceGuid}/manifest_diff`, yaml, YAML)).body.diff
  const appNamed = async (caller: Caller, spaceGuid: string, name: string): Promise<Json> =>
    (await caller.get(`/v3/apps?names=${name}&space_guids=${spaceGuid}`)).body.resources[0]
  const urlsOf = async (caller: Caller, guid: string): Promise<string[]> =>
    (await caller.get(`/v3/apps/${guid}/routes`)).body.resources.map(({ url }: { url: string }) => url).sort()
  const eventsOf = async (guid: string): Promise<string[]> =>
    (await api.context.db.auditEvent.findMany({ where: { targetGuid: guid }, orderBy: { createdAt: 'asc' } })).map(
      ({ type }) => type,
    )

  it('creates an app with all that it names, and changes nothing when applied again', async () => {
    const { developer, space } = await anOrganization(api)
    const credentials = await api.context.db.serviceInstance.create({
      data: { guid: randomUUID(), name: 'db', type: 'user-provided', spaceGuid: space.guid },
    })
    const yaml = `
applications:
- name: shop
  path: /somewhere/else
  memory: 128M
  disk-quota: 512M
  instances: 2
  health-check-type: http
  health-check-http-endpoint: /health
  timeout: 60
  env: { COUNT: 3, FLAG: true, BIG: 12345678901234567890 }
  routes: [{ route: shop-${space.guid.slice(0, 8)}.apps.test }, { route: api.shop-${space.guid.slice(0, 8)}.apps.test/v1 }]
  metadata: { labels: { team: blue } }
  services: [db]
  default-route: true
  processes:
  - { type: worker, command: node worker.js, instances: 1, memory: 1G }
`.replace(`api.shop-`, 'api-shop-')
    expect(await diff(developer, space.guid, yaml)).toContainEqual({ op: 'add', path: '/applications/0/memory', value: '128M' })
    expect(await apply(developer, space.guid, yaml)).toMatchObject({ state: 'COMPLETE', errors: [], warnings: [] })
    const { guid } = await appNamed(developer, space.guid, 'shop')
    const [web, worker] = (await developer.get(`/v3/apps/${guid}/processes`)).body.resources
    expect(web).toMatchObject({
      guid,
      type: 'web',
      instances: 2,
      memory_in_mb: 128,
      disk_in_mb: 512,
      health_check: { type: 'http', data: { endpoint: '/health', timeout: 60 } },
    })
    expect(worker).toMatchObject({ type: 'worker', instances: 1, memory_in_mb: 1024, health_check: { type: 'process' } })
    expect((await developer.get(`/v3/apps/${guid}/environment_variables`)).body.var).toEqual({
      COUNT: '3',
      FLAG: 'true',
      BIG: '12345678901234567890',
    })
    const host = space.guid.slice(0, 8)
    expect(await urlsOf(developer, guid)).toEqual([`api-shop-${host}.apps.test/v1`, `shop-${host}.apps.test`])
    expect(
      await api.context.db.credentialBinding.count({ where: { appGuid: guid, serviceInstanceGuid: credentials.guid } }),
    ).toBe(1)
    expect(await eventsOf(guid)).toEqual(
      expect.arrayContaining(['audit.app.create', 'audit.app.process.scale', 'audit.app.map-route', 'audit.app.apply_manifest']),
    )

    expect(await diff(developer, space.guid, yaml)).toEqual([])
    expect(await diff(developer, space.guid, yaml.replace('128M', '1G').replace('/v1', '/v2'))).toEqual([
      { op: 'replace', path: '/applications/0/memory', was: '128M', value: '1024M' },
      { op: 'add', path: '/applications/0/routes/1', value: { route: `api-shop-${host}.apps.test/v2` } },
    ])
    const before = await eventsOf(guid)
    await apply(developer, space.guid, yaml)
    expect((await eventsOf(guid)).filter((type) => /scale|map-route|create/.test(type))).toEqual(
      before.filter((type) => /scale|map-route|create/.test(type)),
    )

    const shown = await developer.get(`/v3/apps/${guid}/manifest`, { accept: 'application/x-yaml' })
    expect(shown.headers['content-type']).toContain('application/x-yaml')
    const [own] = parse(shown.text).applications
    expect(own).toMatchObject({
      name: 'shop',
      stack: 'cflinuxfs4',
      env: { COUNT: '3', FLAG: 'true', BIG: '12345678901234567890' },
      services: ['db'],
      metadata: { labels: { team: 'blue' } },
      processes: [
        { type: 'web', instances: 2, memory: '128M', disk_quota: '512M' },
        { type: 'worker', command: 'node worker.js' },
      ],
    })
    // What it prints can be applied, and changes nothing.
    expect(await diff(developer, space.guid, shown.text)).toEqual([])
    expect((await apply(developer, space.guid, shown.text)).state).toBe('COMPLETE')
  })

  it.each([
    ['default-route', (host: string) => new RegExp(`^${host}\\.apps\\.test$`)],
    ['random-route', (host: string) => new RegExp(`^${host}-[a-z]+-[a-z]+-[a-z]{2}\\.apps\\.test$`)],
  ])('makes a %s once', async (wish, expected) => {
    const { developer, space } = await anOrganization(api)
    const name = `My App ${space.guid.slice(0, 8)}`
    const yaml = `applications: [{ name: ${name}, ${wish}: true }]`
    await apply(developer, space.guid, yaml)
    const { guid } = await appNamed(developer, space.guid, encodeURIComponent(name))
    const urls = await urlsOf(developer, guid)
    expect(urls).toEqual([expect.stringMatching(expected(name.toLowerCase().replaceAll(' ', '-')))])
    await apply(developer, space.guid, yaml)
    expect(await urlsOf(developer, guid)).toEqual(urls)
    await apply(developer, space.guid, `applications: [{ name: ${name}, no-route: true }]`)
    expect(await urlsOf(developer, guid)).toEqual([])
  })

  it('changes the number of running instances at once, and nothing else of what runs', async () => {
    const { developer, space } = await anOrganization(api)
    const { guid, name } = await pushApp(api, developer, space.guid)
    const specOf = async () => (await api.context.db.process.findUniqueOrThrow({ where: { guid } })).currentSpecGuid
    const spec = await specOf()
    await apply(developer, space.guid, `applications: [{ name: ${name}, instances: 3, memory: 64M, command: other }]`)
    expect(await specOf()).toBe(spec)
    expect((await developer.get(`/v3/processes/${guid}`)).body).toMatchObject({
      instances: 3,
      memory_in_mb: 64,
      command: 'other',
    })
    await apply(developer, space.guid, `applications: [{ name: ${name}, command: null }]`)
    expect((await developer.get(`/v3/processes/${guid}`)).body.command).toBe('node server.js')
  })

  it.each([
    [
      'a route of another space',
      'routes: [{ route: taken.apps.test }]',
      /For application 'new': For route 'taken.apps.test': .*different space/,
    ],
    ['an unknown domain', 'routes: [{ route: x.nowhere.example }]', /No domains exist for route x.nowhere.example/],
    ['an unknown service', 'services: [gone]', /^For application '[^']+': Service instance 'gone' not found$/],
    ['an unknown buildpack', 'buildpacks: [gone]', /Buildpack "gone" must be an existing admin buildpack or a valid git URI/],
    ['an unknown stack', 'stack: gone', /Stack must be an existing stack/],
    ['too much disk', 'disk_quota: 3G', /too much disk requested/],
    ['more memory than the quota has', 'memory: 20G', /quota/],
  ])('fails with a reason for %s, and leaves nothing half made', async (_what, entry, reason) => {
    const other = await anOrganization(api)
    const { developer, space, organization } = await anOrganization(api)
    const { db } = api.context
    const quota = await db.organizationQuota.create({
      data: { guid: randomUUID(), name: `small-${organization.guid}`, perProcessMemoryMb: 10_240 },
    })
    await db.organization.update({ where: { guid: organization.guid }, data: { quotaGuid: quota.guid } })
    await apply(other.developer, other.space.guid, `applications: [{ name: owner, routes: [{ route: taken.apps.test }] }]`).then(
      (job) => expect(job.state).toMatch(/COMPLETE|FAILED/),
    )
    const job = await apply(developer, space.guid, `applications: [{ name: first }, { name: new, ${entry} }]`)
    expect(job.state).toBe('FAILED')
    expect(job.errors[0].detail).toMatch(reason)
    expect(await db.app.count({ where: { spaceGuid: space.guid } })).toBe(0)
    expect(await db.route.count({ where: { spaceGuid: space.guid } })).toBe(0)
  })

  it('refuses at once what no database is needed for', async () => {
    const { developer, space, auditor, stranger } = await anOrganization(api)
    const send = (yaml: string, caller: Caller = developer) =>
      caller.post(`/v3/spaces/${space.guid}/actions/apply_manifest`, yaml, YAML)
    const broken = await send('applications: [')
    expect([broken.status, broken.body.errors[0].title]).toEqual([400, 'CF-MessageParseError'])
    const faults = await send('applications: [{ name: a, memory: lots, instances: -1 }, { memory: 1G }]')
    expect([faults.status, faults.body.errors.map(({ detail }: { detail: string }) => detail)]).toEqual([
      422,
      expect.arrayContaining([expect.stringContaining("For application 'a': Memory is not a number")]),
    ])
    expect(faults.body.errors.length).toBeGreaterThan(2)
    expect((await send('applications: [{ name: a }]', auditor)).status).toBe(403)
    expect((await send('applications: [{ name: a }]', stranger)).status).toBe(404)
    const json = await developer.post(`/v3/spaces/${space.guid}/actions/apply_manifest`, { applications: [] })
    expect(json.body.errors[0].detail).toContain('Content-Type must be yaml')
    expect(
      (
        await send(
          'a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\napplications: [*c,*c,*c,*c,*c,*c,*c,*c,*c]',
        )
      ).status,
    ).toBe(400)
  })

  it('meets itself: the same new app at the same time is one app', async () => {
    const { developer, space } = await anOrganization(api)
    const yaml = `applications: [{ name: twin-${space.guid.slice(0, 8)}, default-route: true }]`
    const jobs = await Promise.all([1, 2, 3].map(() => apply(developer, space.guid, yaml)))
    expect(jobs.map(({ state }) => state)).toEqual(['COMPLETE', 'COMPLETE', 'COMPLETE'])
    expect(await api.context.db.app.count({ where: { spaceGuid: space.guid } })).toBe(1)
  })

  it('takes up a manifest whose api died on the way', async () => {
    const { developer, space } = await anOrganization(api)
    const { context } = api
    const guid = await context.db.$transaction((tx) =>
      context.jobs.create(tx, {
        operation: 'space.apply_manifest',
        params: { spaceGuid: space.guid, yaml: 'applications: [{ name: late }]' },
        actor: { guid: developer.guid, name: developer.name, kind: 'user', isAdmin: false },
      }),
    )
    // Claimed by a process that is no more.
    await context.db.job.update({
      where: { guid },
      data: { claimedBy: 'gone', claimToken: 1n, claimExpiresAt: new Date(0), createdAt: new Date(Date.now() - 60_000) },
    })
    const job = await developer.job({
      status: 202,
      headers: { location: `http://x/v3/jobs/${guid}` },
      body: undefined,
      text: '',
      raw: Buffer.alloc(0),
    })
    expect(job.state).toBe('COMPLETE')
    expect(await appNamed(developer, space.guid, 'late')).toMatchObject({ name: 'late' })
  })

  it('applies to one app at its older address', async () => {
    const { developer, space } = await anOrganization(api)
    const { guid, name } = await createApp(developer, space.guid)
    const answer = await developer.post(
      `/v3/apps/${guid}/actions/apply_manifest`,
      'applications: [{ name: x, memory: 64M }]',
      YAML,
    )
    expect((await developer.job(answer)).state).toBe('COMPLETE')
    expect(await appNamed(developer, space.guid, name)).toMatchObject({ guid })
    expect((await developer.get(`/v3/processes/${guid}`)).body.memory_in_mb).toBe(64)
  })
})
