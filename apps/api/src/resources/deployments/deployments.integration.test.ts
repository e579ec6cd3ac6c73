import { randomUUID } from 'node:crypto'
import { anOrganization, startTestApi, type Caller, type Json, type TestApi } from '../../testing.fixture.js'
import { createPackage, finishBuild, pushApp, runInstances, toApp, uploadBits } from '../push.fixture.js'

/** What the client sends when one option is set: the others come as null. */
const OPTIONS = { web_instances: null, memory_in_mb: null, disk_in_mb: null, log_rate_limit_in_bytes_per_second: null }

describe('deployments', () => {
  let api: TestApi
  beforeAll(async () => {
    api = await startTestApi()
  })
  afterAll(() => api.close())

  const detailOf = (answer: { body: Json }): string => answer.body.errors[0].detail
  const prepare = async (start = true) => {
    const place = await anOrganization(api)
    const app = await pushApp(api, place.developer, place.space.guid, { start, processTypes: { web: 'v1', worker: 'w1' } })
    if (start) {
      await place.developer.post(`/v3/processes/${app.guid}/actions/scale`, { instances: 3 })
      await runInstances(api, app.guid, 3)
    }
    return { ...place, app }
  }
  const stage = async (caller: Caller, appGuid: string, command: string) => {
    const packageGuid = await createPackage(caller, appGuid)
    await uploadBits(caller, packageGuid, { 'server.js': command })
    const build = await caller.post('/v3/builds', { package: { guid: packageGuid } })
    return finishBuild(api, build.body.guid, { web: command, worker: 'w2' })
  }
  const deploy = (caller: Caller, appGuid: string, more: object = {}) =>
    caller.post('/v3/deployments', { relationships: toApp(appGuid), ...more })
  const processesOf = (appGuid: string) =>
    api.context.db.process.findMany({ where: { appGuid }, orderBy: [{ type: 'asc' }, { createdAt: 'asc' }] })

  it('begin with a second web process that has a spec of its own', async () => {
    const { developer, app } = await prepare()
    const droplet = await stage(developer, app.guid, 'v2')
    const answer = await deploy(developer, app.guid, {
      droplet: { guid: droplet },
      strategy: 'rolling',
      options: { max_in_flight: 2, ...OPTIONS, memory_in_mb: 128 },
    })
    expect([answer.status, answer.body]).toMatchObject([
      201,
      {
        status: { value: 'ACTIVE', reason: 'DEPLOYING' },
        strategy: 'rolling',
        options: { max_in_flight: 2, memory_in_mb: 128 },
        droplet: { guid: droplet },
        previous_droplet: { guid: app.dropletGuid },
        new_processes: [{ type: 'web' }],
      },
    ])
    const [old, added, worker] = await processesOf(app.guid)
    expect([old?.instances, added?.instances, added?.memoryMb, old?.memoryMb]).toEqual([3, 2, 128, 1024])
    const spec = await api.context.db.runSpec.findUniqueOrThrow({ where: { guid: added?.currentSpecGuid ?? '' } })
    expect(spec).toMatchObject({ dropletGuid: droplet, spec: { command: 'v2', memoryMb: 128 } })
    // The worker goes on as it is until the deployment has succeeded.
    const workerSpec = await api.context.db.runSpec.findUniqueOrThrow({ where: { guid: worker?.currentSpecGuid ?? '' } })
    expect(workerSpec).toMatchObject({ dropletGuid: app.dropletGuid })

    const active = await developer.get(
      `/v3/deployments?app_guids=${app.guid}&order_by=-created_at&page=1&per_page=1&status_values=ACTIVE`,
    )
    expect(active.body.resources).toMatchObject([{ guid: answer.body.guid }])
    expect(detailOf(await developer.post(`/v3/processes/${app.guid}/actions/scale`, { instances: 5 }))).toBe(
      'Cannot scale this process while a deployment is in flight.',
    )
    expect(
      detailOf(await developer.patch(`/v3/apps/${app.guid}/relationships/current_droplet`, { data: { guid: droplet } })),
    ).toMatch(/while a deployment is under way/)
    const events = await api.context.db.auditEvent.findMany({ where: { targetGuid: app.guid, type: { contains: 'deployment' } } })
    expect(events).toMatchObject([{ type: 'audit.app.deployment.create', data: { deployment_guid: answer.body.guid } }])
  })

  it('are told of as soon as they end', async () => {
    const { developer, app } = await prepare()
    const { guid } = (await deploy(developer, app.guid)).body
    const waiting = developer.get(`/v3/deployments/${guid}`)
    await api.context.db.deployment.update({ where: { guid }, data: { statusValue: 'FINALIZED', statusReason: 'DEPLOYED' } })
    api.context.changes.announce('deployment', guid)
    expect((await waiting).body.status).toMatchObject({ value: 'FINALIZED', reason: 'DEPLOYED' })
  })

  it('of a stopped app just start it', async () => {
    const { developer, app } = await prepare(false)
    const answer = await deploy(developer, app.guid, { options: { ...OPTIONS, web_instances: 2 } })
    expect(answer.body.status).toMatchObject({ value: 'FINALIZED', reason: 'DEPLOYED' })
    expect((await developer.get(`/v3/apps/${app.guid}`)).body.state).toBe('STARTED')
    expect((await developer.get(`/v3/processes/${app.guid}`)).body.instances).toBe(2)
  })

  it('supersede one another', async () => {
    const { developer, app } = await prepare()
    const first = (await deploy(developer, app.guid)).body
    const second = (await deploy(developer, app.guid)).body
    expect((await developer.get(`/v3/deployments/${first.guid}`)).body.status).toMatchObject({
      value: 'FINALIZED',
      reason: 'SUPERSEDED',
    })
    // The target stays what it was before either.
    expect(second).toMatchObject({ status: { value: 'ACTIVE' }, options: { web_instances: 3 } })
    expect(await processesOf(app.guid)).toHaveLength(4)
  })

  it('are cancelled, once', async () => {
    const { developer, app, auditor, stranger } = await prepare()
    const { guid } = (await deploy(developer, app.guid)).body
    const cancel = (caller: Caller) => caller.post(`/v3/deployments/${guid}/actions/cancel`)
    expect((await cancel(auditor)).status).toBe(403)
    expect(detailOf(await cancel(stranger))).toBe('Deployment not found')
    expect((await cancel(developer)).status).toBe(200)
    expect((await cancel(developer)).status).toBe(200)
    expect((await developer.get(`/v3/deployments/${guid}`)).body.status).toMatchObject({ value: 'ACTIVE', reason: 'CANCELING' })
    await api.context.db.deployment.update({ where: { guid }, data: { statusValue: 'FINALIZED', statusReason: 'CANCELED' } })
    expect((await cancel(developer)).status).toBe(422)
    expect(detailOf(await developer.post(`/v3/deployments/${guid}/actions/continue`))).toMatch(/Cannot continue/)
    const events = await api.context.db.auditEvent.count({ where: { targetGuid: app.guid, type: 'audit.app.deployment.cancel' } })
    expect(events).toBe(1)
  })

  it.each<[string, object, RegExp]>([
    ['canary', { strategy: 'canary' }, /Canary deployments are not available/],
    ['another strategy', { strategy: 'recreate' }, /not a supported deployment strategy/],
    ['a revision', { revision: { guid: 'x' } }, /Revisions are not kept/],
    ['a droplet that is not there', { droplet: { guid: 'x' } }, /Unable to assign current droplet/],
    ['none in flight', { options: { max_in_flight: 0 } }, /must be an integer greater than 0/],
    ['an unknown option', { options: { speed: 1 } }, /Unknown field\(s\): 'speed'/],
  ])('are refused with %s', async (_what, more, reason) => {
    const { developer, app } = await prepare()
    const answer = await deploy(developer, app.guid, more)
    expect([answer.status, detailOf(answer)]).toEqual([422, expect.stringMatching(reason)])
    expect(await api.context.db.deployment.count({ where: { appGuid: app.guid } })).toBe(0)
    expect(await processesOf(app.guid)).toHaveLength(2)
  })

  it('are refused where nothing could be deployed, or by whom', async () => {
    const { developer, auditor, stranger, app, space, organization } = await prepare()
    const bare = await developer.post('/v3/apps', { name: 'bare', relationships: { space: { data: { guid: space.guid } } } })
    expect(detailOf(await deploy(developer, bare.body.guid))).toMatch(/Invalid droplet/)
    expect((await deploy(auditor, app.guid)).status).toBe(403)
    expect(detailOf(await deploy(stranger, app.guid))).toMatch(/Unable to use app/)
    expect((await stranger.get(`/v3/deployments?app_guids=${app.guid}`)).body.resources).toEqual([])
    // Both versions run side by side: that must fit.
    const quota = await api.context.db.organizationQuota.create({
      data: { guid: randomUUID(), name: randomUUID(), totalInstances: 3 },
    })
    await api.context.db.organization.update({ where: { guid: organization.guid }, data: { quotaGuid: quota.guid } })
    expect(detailOf(await deploy(developer, app.guid))).toMatch(/side by side/)
    expect(await api.context.db.deployment.count({ where: { appGuid: app.guid } })).toBe(0)
  })
})
