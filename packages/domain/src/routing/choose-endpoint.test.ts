import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { balancingOf, chooseEndpoint, chooseStickyEndpoint, type EndpointChoice } from './choose-endpoint.js'

interface Endpoint {
  readonly instanceGuid: string
}
const endpoints: readonly Endpoint[] = ['a', 'b', 'c'].map((instanceGuid) => ({ instanceGuid }))
const choice = (
  over: { failed?: string; tried?: string; load?: Record<string, number> } & Partial<EndpointChoice<Endpoint>> = {},
): EndpointChoice<Endpoint> => ({
  endpoints,
  balancing: 'round-robin',
  cursor: 0,
  isFailed: ({ instanceGuid }) => (over.failed ?? '').includes(instanceGuid),
  isTried: ({ instanceGuid }) => (over.tried ?? '').includes(instanceGuid),
  inFlight: ({ instanceGuid }) => over.load?.[instanceGuid] ?? 0,
  ...over,
})

describe('chooseEndpoint', () => {
  it.each<[string, EndpointChoice<Endpoint>, string | undefined]>([
    ['begins at the cursor', choice({ cursor: 1 }), 'b'],
    ['wraps around', choice({ cursor: 5 }), 'c'],
    ['skips what failed', choice({ failed: 'a' }), 'b'],
    ['skips what was tried', choice({ cursor: 2, tried: 'c' }), 'a'],
    ['prefers sound over failed when some were tried', choice({ tried: 'a', failed: 'b' }), 'c'],
    ['ignores the marks when all have failed', choice({ failed: 'abc', cursor: 1 }), 'b'],
    ['gives up when all were tried', choice({ tried: 'abc' }), undefined],
    ['has nothing to choose', choice({ endpoints: [] }), undefined],
    ['takes the least busy', choice({ balancing: 'least-connection', load: { a: 2, b: 1, c: 1 } }), 'b'],
    ['breaks a tie at the cursor', choice({ balancing: 'least-connection', load: { a: 2, b: 1, c: 1 }, cursor: 2 }), 'c'],
  ])('%s', (_name, input, expected) => expect(chooseEndpoint(input)?.instanceGuid).toBe(expected))

  it('visits every endpoint equally often', () =>
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.nat(1000), (count, start) => {
        const list = Array.from({ length: count }, (_, i) => ({ instanceGuid: String(i) }))
        const seen = list.map((_, i) => chooseEndpoint({ ...choice(), endpoints: list, cursor: start + i })?.instanceGuid)
        expect(new Set(seen).size).toBe(count)
      }),
    ))
})

describe('chooseStickyEndpoint', () => {
  it.each<[string, string | undefined, EndpointChoice<Endpoint>, string | undefined]>([
    ['takes the named instance', 'b', choice(), 'b'],
    ['knows no instance that is gone', 'z', choice(), undefined],
    ['passes over a failed one', 'b', choice({ failed: 'b' }), undefined],
    ['passes over a tried one', 'b', choice({ tried: 'b' }), undefined],
    ['does nothing without a session', undefined, choice(), undefined],
  ])('%s', (_name, guid, input, expected) => expect(chooseStickyEndpoint(guid, input)?.instanceGuid).toBe(expected))
})

describe('balancingOf', () => {
  it('falls back on round robin', () => {
    expect(balancingOf('least-connection')).toBe('least-connection')
    expect(balancingOf('sideways')).toBe('round-robin')
    expect(balancingOf(undefined)).toBe('round-robin')
  })
})
