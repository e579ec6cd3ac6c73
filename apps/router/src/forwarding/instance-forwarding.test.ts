import { describe, expect, it } from '@jest/globals'
import type { RouteEndpoint } from '@bloomery/contracts'
import { anEndpoint, aRoute } from '../fake-scheduler.fixture.js'
import { Exchange } from '../proxy/exchange.js'
import { RawHeaders } from '../proxy/raw-headers.js'
import { RouteTable } from '../table/route-table.js'
import { InstanceForwarding, type InstanceForwardingDeps } from './instance-forwarding.js'

/** Where so many requests go first, by port, all of them left under way. */
function targets(
  count: number,
  endpoints: RouteEndpoint[],
  options: Record<string, string>,
  more: {
    headers?: (i: number) => string[]
    balancing?: InstanceForwardingDeps['balancing']
    sticky?: InstanceForwardingDeps['sticky']
  } = {},
): Record<string, number> {
  const table = new RouteTable()
  const route = aRoute('app.test', endpoints, { options })
  const seen: Record<string, number> = {}
  for (let i = 0; i < count; i++) {
    const exchange = new Exchange(
      {
        method: 'GET',
        target: '/',
        httpVersion: '1.1',
        headers: RawHeaders.from(['Host', 'app.test', ...(more.headers?.(i) ?? [])]),
      },
      { secure: false, address: '192.0.2.1', port: 1 },
      'id',
      0,
    )
    exchange.candidates = route.endpoints
    const next = new InstanceForwarding(
      { table, localCells: new Set(), sticky: more.sticky, ...(more.balancing ? { balancing: more.balancing } : {}) },
      exchange,
      route,
    ).next()
    const where = next.do === 'try' ? String(next.target.port) : next.do === 'answer' ? String(next.answer.status) : next.do
    seen[where] = (seen[where] ?? 0) + 1
  }
  return seen
}
const endpoints = [1, 2, 3].map((port) => anEndpoint({ port }))

describe('where a request goes', () => {
  it('follows the weights of destinations', () => {
    const weighed = endpoints.map((each, i) => ({ ...each, appGuid: `app-${i}`, weight: [70, 20, 10][i] ?? 0 }))
    const seen = targets(100, weighed, {})
    expect(Math.abs((seen['1'] ?? 0) - 70)).toBeLessThan(6)
    expect(Math.abs((seen['3'] ?? 0) - 10)).toBeLessThan(5)
  })

  it('is the least busy one where the route says so', () =>
    expect(targets(9, endpoints, { loadbalancing: 'least-connection' })).toEqual({ 1: 3, 2: 3, 3: 3 }))

  it('is the same for one value of the hash header, and in turn without it', () => {
    const options = { loadbalancing: 'hash', hash_header: 'X-Tenant' }
    expect(Object.values(targets(9, endpoints, options, { headers: () => ['x-tenant', 'a'] }))).toEqual([9])
    expect(targets(9, endpoints, options)).toEqual({ 1: 3, 2: 3, 3: 3 })
    expect(Object.keys(targets(60, endpoints, options, { headers: (i) => ['x-tenant', String(i)] }))).toHaveLength(3)
    const balanced = targets(9, endpoints, { ...options, hash_balance: '1.1' }, { headers: () => ['x-tenant', 'a'] })
    expect(Math.max(...Object.values(balanced))).toBeLessThanOrEqual(4)
  })

  it('is an instance of the router’s zone first', () => {
    const zoned = endpoints.map((each, i) => (i === 1 ? { ...each, zone: 'z1' } : each))
    expect(targets(9, zoned, {}, { balancing: { zone: 'z1' } })).toEqual({ 2: 9 })
    expect(Object.keys(targets(9, zoned, {}, { balancing: { zone: 'default' } }))).toEqual(['1', '3'])
  })

  it('is the instance that began a negotiation, or nowhere', () => {
    const sticky = { sessionCookies: [], alwaysSecure: false, forNegotiate: true }
    const bound = (instance: string, list: RouteEndpoint[]) =>
      targets(3, list, {}, { sticky, headers: () => ['cookie', `__VCAP_ID__=${instance}`, 'authorization', 'Negotiate YII'] })
    expect(bound('instance-2', endpoints)).toEqual({ 2: 3 })
    expect(bound('gone', endpoints)).toEqual({ 503: 3 })
    expect(bound('gone', endpoints.slice(0, 1))).toEqual({ 503: 3 })
    expect(bound('instance-1', endpoints.slice(0, 1))).toEqual({ 1: 3 })
  })

  it('is nowhere when each instance has as many requests as it may have', () =>
    expect(targets(8, endpoints, {}, { balancing: { maxInFlight: 2 } })).toEqual({ 1: 2, 2: 2, 3: 2, 503: 2 }))
})
