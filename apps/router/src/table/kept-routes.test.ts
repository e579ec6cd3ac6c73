import { describe, expect, it } from '@jest/globals'
import { RouteEntry } from '@bloomery/contracts'
import fc from 'fast-check'
import { anEndpoint, aRoute } from '../fake-scheduler.fixture.js'
import { RoutePacking } from './kept-routes.js'

const text = fc.string({ unit: 'grapheme', maxLength: 12 })
const guid = fc.uuid()
const anyEndpoint = fc.record(
  {
    instanceGuid: guid,
    appGuid: fc.constantFrom('a', 'b'),
    appName: text,
    spaceGuid: text,
    organizationGuid: text,
    processGuid: fc.constantFrom('a', 'b'),
    processType: text,
    index: fc.nat(),
    cellId: text,
    localAddress: text,
    hostAddress: text,
    protocol: fc.constantFrom('http1', 'http2', 'tcp'),
    tlsAddress: text,
    zone: text,
    weight: fc.integer({ min: 1, max: 100 }),
  },
  {
    requiredKeys: [
      ...(['instanceGuid', 'appGuid', 'appName', 'spaceGuid', 'organizationGuid', 'processGuid', 'processType'] as const),
      ...(['index', 'cellId', 'localAddress', 'hostAddress', 'protocol'] as const),
    ],
  },
)
const anyRoute = fc.record(
  {
    routeGuid: guid,
    host: text,
    path: text,
    protocol: fc.constantFrom('http', 'tcp'),
    port: fc.nat(),
    options: fc.dictionary(text, text, { maxKeys: 3, noNullPrototype: true }),
    routeServiceUrl: text,
    routeServiceTrusted: fc.boolean(),
    unserved: fc.boolean(),
    endpoints: fc.array(anyEndpoint, { maxLength: 3 }),
  },
  { requiredKeys: ['routeGuid', 'host', 'path', 'protocol', 'options', 'endpoints'] },
)

describe('routes as they are kept', () => {
  it('are what the feed said, closed and open', () => {
    const packing = new RoutePacking()
    fc.assert(
      fc.property(anyRoute, (given) => {
        const route = RouteEntry.parse(given)
        const kept = packing.pack(route)
        expect(kept.toJSON()).toEqual(route)
        for (const key of Object.keys(route) as (keyof RouteEntry)[]) expect(kept[key]).toEqual(route[key])
        expect(kept.toJSON()).toEqual(route)
        expect([kept.isServed, kept.isTcp]).toEqual([route.endpoints.length > 0, route.protocol === 'tcp'])
        expect(kept.equals(packing.pack(RouteEntry.parse(JSON.parse(JSON.stringify(kept)))))).toBe(true)
      }),
    )
  })

  it('differ where one says something else', () => {
    const packing = new RoutePacking()
    fc.assert(
      fc.property(anyRoute, anyRoute, (one, other) => {
        const [first, second] = [RouteEntry.parse(one), RouteEntry.parse({ ...other, routeGuid: one.routeGuid })]
        const isEqual = JSON.stringify(packing.pack(first)) === JSON.stringify(packing.pack(second))
        expect(packing.pack(first).equals(packing.pack(second))).toBe(isEqual)
      }),
    )
  })

  it('stay open while they serve, and are closed behind many others; who holds their endpoints keeps them', () => {
    const packing = new RoutePacking()
    const first = packing.pack(aRoute('first.test', [anEndpoint({ port: 1 })]))
    const { endpoints } = first
    expect(first.endpoints).toBe(endpoints)
    for (let i = 0; i < 20_000; i++) packing.pack(aRoute(`r${i}.test`, [anEndpoint({ port: i })])).endpoints.at(0)
    expect(first.endpoints).not.toBe(endpoints)
    expect(first.endpoints).toEqual(endpoints)
  })
})
