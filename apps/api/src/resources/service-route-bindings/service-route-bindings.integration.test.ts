import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { aManagedInstance, BindingBroker } from '../../service-bindings/bound-services.fixture.js'
import { anOrganization, startTestApi, type Answer, type Json, type TestApi } from '../../testing.fixture.js'

const PATH = '/v3/service_route_bindings'
let api: TestApi
let place: Awaited<ReturnType<typeof anOrganization>>
let broker: BindingBroker
let url: string
let domain: Json
beforeAll(async () => {
  api = await startTestApi()
  place = await anOrganization(api)
  broker = new BindingBroker()
  url = await broker.start()
  domain = await api.context.db.domain.create({ data: { guid: randomUUID(), name: `${randomUUID().slice(0, 8)}.test` } })
})
afterAll(async () => {
  broker.close()
  await api.close()
})
beforeEach(() => {
  broker.answer = () => undefined
  broker.calls.length = 0
})

const aRoute = async (): Promise<Json> => {
  const created = await place.developer.post('/v3/routes', {
    host: `h-${randomUUID().slice(0, 8)}`,
    path: '/in',
    relationships: { space: { data: { guid: place.space.guid } }, domain: { data: { guid: domain.guid } } },
  })
  expect(created.status).toBe(201)
  return created.body
}
const aUserProvided = async (
  more: Record<string, unknown> = { route_service_url: 'https://guard.example.com' },
): Promise<Json> => {
  const created = await place.developer.post('/v3/service_instances', {
    type: 'user-provided',
    name: `s-${randomUUID().slice(0, 8)}`,
    relationships: { space: { data: { guid: place.space.guid } } },
    ...more,
  })
  expect(created.status).toBe(201)
  return created.body
}
const bind = (route: string, service: string, more: Record<string, unknown> = {}): Promise<Answer> =>
  place.developer.post(PATH, {
    relationships: { route: { data: { guid: route } }, service_instance: { data: { guid: service } } },
    ...more,
  })
const events = async (guid: string): Promise<string[]> =>
  (await api.context.db.auditEvent.findMany({ where: { targetGuid: guid }, orderBy: { sequence: 'asc' } })).map(
    ({ type }) => type,
  )

describe('route services', () => {
  it('that users provide stand before a route at once, and move with their instance', async () => {
    const [route, service] = [await aRoute(), await aUserProvided()]
    const bound = await bind(route.guid, service.guid)
    expect(bound).toMatchObject({ status: 201, body: { route_service_url: 'https://guard.example.com' } })
    expect(bound.headers['location']).toBeUndefined()
    const again = await bind(route.guid, service.guid)
    expect(again).toMatchObject({ status: 422, body: { errors: [{ title: 'CF-ServiceInstanceAlreadyBoundToSameRoute' }] } })
    const other = await aUserProvided()
    expect((await bind(route.guid, other.guid)).text).toContain('A route may only be bound to a single service instance')
    await place.developer.patch(`/v3/service_instances/${service.guid}`, { route_service_url: 'https://new.example.com' })
    const listed = await place.developer.get(`${PATH}?route_guids=${route.guid}&include=route,service_instance`)
    expect(listed.body).toMatchObject({
      resources: [{ guid: bound.body.guid, route_service_url: 'https://new.example.com' }],
      included: { routes: [{ guid: route.guid }], service_instances: [{ guid: service.guid }] },
    })
    expect((await place.stranger.get(`${PATH}/${bound.body.guid}`)).status).toBe(404)
    expect((await place.auditor.delete(`${PATH}/${bound.body.guid}`)).status).toBe(403)
    expect((await place.developer.delete(`${PATH}/${bound.body.guid}`)).status).toBe(204)
    expect(await events(bound.body.guid)).toEqual(['audit.service_route_binding.create', 'audit.service_route_binding.delete'])
  })

  it('go with their instance', async () => {
    const [route, service] = [await aRoute(), await aUserProvided()]
    const bound = await bind(route.guid, service.guid)
    expect((await place.developer.delete(`/v3/service_instances/${service.guid}`)).status).toBe(204)
    expect((await place.developer.get(`${PATH}/${bound.body.guid}`)).status).toBe(404)
    expect(await events(bound.body.guid)).toContain('audit.service_route_binding.delete')
  })

  it('of a broker are asked for, with the route', async () => {
    const route = await aRoute()
    const service = await aManagedInstance(api, place.space.guid, url, { requires: ['route_forwarding'] })
    broker.answer = (call) =>
      call.method === 'PUT' ? { status: 201, body: { route_service_url: 'https://proxy.example.com' } } : undefined
    const answer = await bind(route.guid, service.guid, { parameters: { mode: 'strict' } })
    expect(answer.status).toBe(202)
    expect(await place.developer.job(answer)).toMatchObject({ state: 'COMPLETE' })
    expect(broker.of('PUT', '/service_bindings/')[0]?.body).toMatchObject({
      bind_resource: { route: route.url },
      parameters: { mode: 'strict' },
    })
    const [binding] = (await place.developer.get(`${PATH}?route_guids=${route.guid}`)).body.resources
    expect(binding).toMatchObject({ route_service_url: 'https://proxy.example.com', last_operation: { state: 'succeeded' } })
    expect(await place.developer.job(await place.developer.delete(`/v3/routes/${route.guid}`))).toMatchObject({
      state: 'COMPLETE',
    })
    expect(broker.of('DELETE', binding.guid)).toHaveLength(1)
    expect(await events(binding.guid)).toEqual(['audit.service_route_binding.create', 'audit.service_route_binding.delete'])
  })

  it.each([
    ['no https', { status: 201, body: { route_service_url: 'http://proxy.example.com' } }],
    ['a failure', { status: 500, body: {} }],
  ])('are not bound after %s, and the route is free for the next', async (_what, reply) => {
    const route = await aRoute()
    const service = await aManagedInstance(api, place.space.guid, url, { requires: ['route_forwarding'] })
    broker.answer = (call) => (call.method === 'PUT' ? reply : undefined)
    expect(await place.developer.job(await bind(route.guid, service.guid))).toMatchObject({ state: 'FAILED' })
    expect(await api.context.db.orphanMitigation.count({ where: { serviceInstanceGuid: service.guid } })).toBe(1)
    expect((await bind(route.guid, (await aUserProvided()).guid)).status).toBe(201)
  })

  it('are refused where they make no sense', async () => {
    const route = await aRoute()
    const plain = await aManagedInstance(api, place.space.guid, url)
    expect((await bind(route.guid, plain.guid)).text).toContain('does not support route binding')
    expect((await bind(route.guid, (await aUserProvided({})).guid)).text).toContain('does not support route binding')
    const elsewhere = await anOrganization(api)
    const foreign = await aManagedInstance(api, elsewhere.space.guid, url, { requires: ['route_forwarding'] })
    expect((await bind(route.guid, foreign.guid)).text).toContain('could not be found')
    expect((await bind(randomUUID(), plain.guid)).text).toContain('The route could not be found')
  })
})
