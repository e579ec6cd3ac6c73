import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { anApp, Bloom } from './bloom.fixture.js'

let bloom: Bloom
beforeEach(async () => {
  bloom = new Bloom()
  await bloom.open()
  await bloom.login()
  bloom.list('/v3/apps', [anApp()])
  bloom.list('/v3/domains', [tcp])
  bloom.list('/v3/routes', [])
  bloom.answer('GET /routing/v1/router_groups', 200, [
    { guid: 'g', name: 'default-tcp', type: 'tcp', reservable_ports: '20000-20049' },
  ])
})
afterEach(() => bloom.close())

const data = (guid: string) => ({ data: { guid } })
const tcp = {
  ...{ guid: 'tcp', name: 'tcp.test', internal: false, supported_protocols: ['tcp'] },
  relationships: { organization: { data: null } },
}
const web = {
  ...{ guid: 'web', name: 'apps.test', internal: false, supported_protocols: ['http'] },
  relationships: { organization: data('o') },
}
const aRoute = (more: object = {}) => ({
  ...{ guid: 'r', url: 'tcp.test:20001', host: '', path: '', port: 20_001, protocol: 'tcp', options: {}, destinations: [] },
  relationships: { space: data('s'), domain: data('tcp') },
  ...more,
})
const asked = (): string | undefined => bloom.cloud.requests.filter((each) => each.startsWith('GET /v3/routes')).at(-1)

describe('domains', () => {
  it('are listed with what they are for, and router groups with their ports', async () => {
    bloom.list('/v3/organizations/o/domains', [tcp, web])
    expect((await bloom.run('domains')).stdout).toMatch(/tcp\.test +shared +tcp\napps\.test +private +http\n/)
    expect((await bloom.run('router-groups')).stdout).toMatch(/default-tcp +tcp +20000-20049/)
  })
  it('are made for a router group, and deleted with their routes', async () => {
    bloom.take('POST /v3/domains', 201)
    bloom.take('DELETE /v3/domains/tcp')
    expect((await bloom.run('create-shared-domain tcp.test --router-group default-tcp')).code).toBe(0)
    expect((await bloom.run('delete-shared-domain tcp.test -f')).code).toBe(0)
    expect(bloom.sent).toEqual([
      { route: 'POST /v3/domains', body: { name: 'tcp.test', internal: false, router_group: { guid: 'g' } } },
      { route: 'DELETE /v3/domains/tcp', body: undefined },
    ])
    expect(await bloom.run('create-shared-domain x.test --router-group none')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("Router group 'none' not found. See: bloom router-groups"),
    })
    bloom.list('/v3/domains', [web])
    expect(await bloom.run('delete-shared-domain apps.test -f')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('is a private domain'),
    })
    bloom.list('/v3/domains', [])
    expect(await bloom.run('delete-shared-domain gone.test -f')).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('does not exist'),
    })
  })
})

describe('routes', () => {
  it('are listed with ports, protocols and options', async () => {
    const destinations = [{ guid: 'd', app: { guid: 'shop-guid' }, protocol: 'tcp' }]
    bloom.list('/v3/routes', [aRoute({ host: 'db', options: { sni: 'true' }, destinations })])
    expect((await bloom.run('routes')).stdout).toMatch(/dev +db +tcp\.test +20001 +tcp +tcp +shop +sni=true\n/)
  })
  it('are made with a free port, or for one name on a port', async () => {
    bloom.take('POST /v3/routes', 201, aRoute())
    expect((await bloom.run('create-route tcp.test')).stdout).toContain('Route tcp.test:20001 has been created.')
    await bloom.run('create-route tcp.test --hostname db --port 20001 -o sni=true -o loadbalancing=least-connection')
    const relationships = { domain: data('tcp'), space: data('s') }
    expect(bloom.sent.map(({ body }) => body)).toEqual([
      { relationships },
      { host: 'db', port: 20_001, options: { sni: 'true', loadbalancing: 'least-connection' }, relationships },
    ])
    expect((await bloom.run('create-route tcp.test -o sni')).stderr).toContain("'sni' is not of the form KEY=VALUE")
  })
  it('that are there already are no failure in the same space alone', async () => {
    const errors = [
      { code: 210003, title: 'CF-RouteHostTaken', detail: "Route already exists with port '20001' for domain 'tcp.test'." },
    ]
    bloom.take('POST /v3/routes', 422, { errors })
    expect((await bloom.run('create-route tcp.test --port 20001')).code).toBe(1)
    bloom.list('/v3/routes', [aRoute()])
    expect(await bloom.run('create-route tcp.test --port 20001')).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('Route tcp.test:20001 already exists.'),
    })
  })
  it('are found by host and port, and a TCP route without a port is a new one', async () => {
    bloom.take('POST /v3/routes', 201, aRoute())
    bloom.take('POST /v3/routes/r/destinations')
    expect((await bloom.run('map-route shop tcp.test')).stdout).toContain('Creating route tcp.test:20001')
    expect(asked()).toMatch(/domain_guids=tcp&hosts=&paths=&ports=0/)
    bloom.list('/v3/routes', [aRoute()])
    expect((await bloom.run('map-route shop tcp.test --hostname db --port 20001 --app-protocol tcp')).code).toBe(0)
    expect(asked()).toMatch(/hosts=db&paths=&ports=20001/)
    expect(bloom.sent.at(-1)?.body).toEqual({ destinations: [{ app: { guid: 'shop-guid' }, protocol: 'tcp' }] })
    bloom.list('/v3/routes', [])
    expect((await bloom.run('unmap-route shop tcp.test')).stderr).toContain('Name its port with --port.')
    bloom.list('/v3/domains', [web])
    expect((await bloom.run('unmap-route shop apps.test --path /a')).code).toBe(1)
    expect(asked()).toMatch(/hosts=&paths=%2Fa(?!.*ports)/)
  })
  it('are changed, shared, moved and deleted', async () => {
    bloom.list('/v3/routes', [aRoute()])
    bloom.list('/v3/spaces', [{ guid: 'other', name: 'other' }])
    bloom.take('PATCH /v3/routes/r')
    bloom.take('POST /v3/routes/r/relationships/shared_spaces')
    bloom.take('DELETE /v3/routes/r/relationships/shared_spaces/other')
    bloom.take('PATCH /v3/routes/r/relationships/space')
    bloom.take('DELETE /v3/routes/r')
    for (const line of [
      'update-route tcp.test --port 20001 -o loadbalancing=round-robin -r hash_header',
      'share-route tcp.test --port 20001 -s other',
      'unshare-route tcp.test --port 20001 -s other',
      'move-route tcp.test --port 20001 -s other',
      'delete-route tcp.test --port 20001 -f',
    ])
      expect([line, (await bloom.run(line)).code]).toEqual([line, 0])
    expect(bloom.sent.map(({ body }) => body)).toEqual([
      { options: { hash_header: null, loadbalancing: 'round-robin' } },
      { data: [{ guid: 'other' }] },
      undefined,
      { data: { guid: 'other' } },
      undefined,
    ])
    expect((await bloom.run('update-route tcp.test --port 20001')).stderr).toContain('Say what to change')
    expect((await bloom.run('move-route tcp.test --port 20001')).stderr).toContain('Name the other space with -s SPACE')
    bloom.list('/v3/routes', [])
    expect((await bloom.run('delete-route tcp.test --port 20001 -f')).stderr).toContain('was not found')
  })
})

describe('spaces', () => {
  it('are made with oneself as manager and developer', async () => {
    bloom.list('/v3/spaces', [])
    bloom.take('POST /v3/spaces', 201, { guid: 'new', name: 'new' })
    bloom.take('POST /v3/roles', 201)
    expect((await bloom.run('create-space new')).stdout).toContain('bloom target -o "acme" -s "new"')
    expect(bloom.sent.map(({ body }) => body)).toEqual([
      { name: 'new', relationships: { organization: data('o') } },
      ...['space_manager', 'space_developer'].map((type) => ({
        type,
        relationships: { user: data('admin-guid'), space: data('new') },
      })),
    ])
  })
  it('that are there already are left as they are', async () => {
    const detail = "User 'admin' already has 'space_manager' role in space 'dev'."
    bloom.take('POST /v3/roles', 422, { errors: [{ code: 10008, title: 'CF-UnprocessableEntity', detail }] })
    expect(await bloom.run('create-space dev -o acme')).toMatchObject({ code: 0, stderr: "Space 'dev' already exists.\n" })
    expect(bloom.sent.map(({ route }) => route)).toEqual(['POST /v3/roles', 'POST /v3/roles'])
  })
  it('are listed and deleted; a targeted one is targeted no more', async () => {
    bloom.take('DELETE /v3/spaces/s')
    expect((await bloom.run('spaces')).stdout).toMatch(/name\ndev\n/)
    expect((await bloom.run('delete-space dev -f')).stdout).toContain('No space targeted')
    expect((await bloom.run('routes')).stderr).toContain('No space is targeted')
    bloom.list('/v3/spaces', [])
    expect(await bloom.run('delete-space dev -f')).toMatchObject({ code: 0, stderr: "Space 'dev' does not exist.\n" })
  })
})
