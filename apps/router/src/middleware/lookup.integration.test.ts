import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { anEndpoint, aRoute } from '../fake-scheduler.fixture.js'
import { send, startBackend, startPlane, type Reply, type TestPlane } from '../proxy/data-plane.fixture.js'

const APP = '0f2a0bd0-1111-4222-8333-0123456789ab'
let plane: TestPlane
let backends: Awaited<ReturnType<typeof startBackend>>[]

beforeAll(async () => {
  plane = await startPlane()
  backends = await Promise.all(
    ['zero', 'one', 'wild'].map((name) =>
      startBackend((request, response) => {
        if (request.url === '/login') response.setHeader('Set-Cookie', 'JSESSIONID=s; Path=/')
        response.end(`${name} ${String(request.headers['x-cf-app-instance'])}`)
      }),
    ),
  )
  const [zero, one, wild] = backends.map(({ port }, index) => anEndpoint({ port, index }))
  plane.table.change(
    [
      aRoute('app.test', [zero!, one!]),
      aRoute('app.test/path', [one!]),
      aRoute('*.test', [wild!]),
      aRoute('stopped.example', []),
      aRoute('crashed.example', [], { unserved: true }),
      aRoute('crashed.test', [], { unserved: true }),
      aRoute('service.test', [zero!], { routeServiceUrl: 'https://service' }),
    ],
    [],
    { epoch: '1', revision: 1 },
  )
})
afterAll(async () => {
  await plane.close()
  for (const backend of backends) await backend.close()
})
const ask = (host: string, headers: Record<string, string> = {}, path = '/'): Promise<Reply> =>
  send(plane.port, host, { headers, path })

describe('the lookup', () => {
  it('takes host, wildcard and longest path', async () => {
    const seen = await Promise.all(Array.from({ length: 6 }, () => ask('app.test')))
    expect(new Set(seen.map(({ body }) => body))).toEqual(new Set(['zero undefined', 'one undefined']))
    expect((await ask('app.test', {}, '/PATH/x')).body).toContain('one')
    expect((await ask('a.b.test')).body).toContain('wild')
  })

  it.each(['nobody.example', 'stopped.example'])('answers 404 for %s', async (host) => {
    const reply = await ask(`${host}:8080`)
    expect(reply).toMatchObject({ status: 404, body: `404 Not Found: Requested route ('${host}:8080') does not exist.\n` })
    expect(reply.headers).toMatchObject({ 'x-cf-routererror': 'unknown_route', 'cache-control': 'no-cache, no-store' })
    expect(reply.headers).not.toHaveProperty('x-vcap-request-id')
  })

  it('answers 503 where instances are wanted and none is there', async () => {
    const reply = await ask('crashed.example')
    expect(reply).toMatchObject({
      status: 503,
      body: expect.stringMatching(/^503 Service Unavailable: Requested route \('crashed.example'\)/),
    })
    expect(reply.headers).toMatchObject({ 'x-cf-routererror': 'no_endpoints', 'cache-control': 'public,max-age=2' })
    // A wildcard that is served comes before that.
    expect((await ask('crashed.test')).body).toContain('wild')
    const lenient = await startPlane({ unservedIs503: false })
    lenient.table.change([aRoute('crashed.example', [], { unserved: true })], [], { epoch: '1', revision: 1 })
    expect(await send(lenient.port, 'crashed.example')).toMatchObject({
      status: 404,
      headers: { 'x-cf-routererror': 'unknown_route' },
    })
    await lenient.close()
  })

  it('leads to the one instance that is asked for, and hides the wish from it', async () => {
    for (let i = 0; i < 3; i++) expect((await ask('app.test', { 'x-cf-app-instance': `${APP}:1` })).body).toBe('one undefined')
    expect((await ask('app.test', { 'x-cf-process-instance': `${APP}:0` })).body).toContain('zero')
  })

  it.each([
    [
      'x-cf-app-instance',
      `${APP}:7`,
      400,
      'unknown_route',
      `Requested instance ('7') with guid ('${APP}') does not exist for route ('app.test')`,
    ],
    ['x-cf-app-instance', 'nonsense', 400, 'invalid_cf_app_instance_header', 'Invalid X-CF-App-Instance Header'],
    ['x-cf-process-instance', 'nonsense', 400, 'invalid_cf_process_instance_header', 'Invalid X-CF-Process-Instance Header'],
  ])('refuses %s: %s', async (header, value, status, error, message) => {
    const reply = await ask('app.test', { [header]: value })
    expect(reply).toMatchObject({ status, body: `400 Bad Request: ${message}\n` })
    expect(reply.headers['x-cf-routererror']).toBe(error)
  })

  it('does not pass by a route service', async () => {
    const reply = await ask('service.test')
    expect([reply.status, reply.headers['x-cf-routererror']]).toEqual([502, 'route_service_unsupported'])
  })

  it('keeps a session with its instance', async () => {
    const login = await ask('app.test', {}, '/login')
    const name = login.body.split(' ')[0]!
    const id = /__VCAP_ID__=([^;]+); Path=\/; HttpOnly/.exec(String(login.headers['set-cookie']?.[1]))?.[1]
    expect(id).toMatch(/^instance-/)
    for (let i = 0; i < 4; i++)
      expect((await ask('app.test', { cookie: `JSESSIONID=s; __VCAP_ID__=${id!}` })).body).toContain(name)
    const moved = await ask('app.test', { cookie: 'JSESSIONID=s; __VCAP_ID__=gone' })
    expect(moved.headers['set-cookie']?.[0]).toMatch(/^__VCAP_ID__=instance-/)
  })
})
